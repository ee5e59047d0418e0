"""Finding messages that were lost on their way, and publishing them again.

Kombu's Redis transport takes a message from its queue and notes it as unacknowledged in two steps; a worker that is
killed in between loses the message. The ledger still has it open, so a message that is open, in no queue and held by no
worker is published again under its own id. If it was not lost after all, the second delivery finds its outcome and does
nothing.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from pointsman_shared import names
from pointsman_shared.settings import Settings
from pointsman_workers.delivery.in_flight import InFlight

logger = logging.getLogger(__name__)

INTERVAL_S: Final = 2.0
# Redis restores the messages of a dead worker this long after the visibility timeout, at the latest.
RESTORE_MARGIN_S: Final = 15.0
# Between two looks at a message that seems lost: it may be moving from one place to another.
SECOND_LOOK_S: Final = 1.0
# A trainer renews its claim every two seconds. The claim ends before this.
SILENT_S: Final = 45.0
IDS_SHOWN: Final = 5


class Reconciler:
    """Looks for lost messages; of all workers of a deployment, one at a time does."""

    def __init__(
        self, messages: InFlight, settings: Settings, owner: str, wait: Callable[[float], object]
    ) -> None:
        self._messages = messages
        self._owner = owner
        self._wait = wait
        train = messages.store.keys.queue(names.TRAIN_QUEUE)
        self._grace_s = {
            "": settings.visibility_timeout_s + RESTORE_MARGIN_S,
            train: settings.train_visibility_timeout_s + RESTORE_MARGIN_S,
        }

    def step(self) -> None:
        """Look once, if it is this worker's turn."""
        if self._messages.claim(self._owner, 3 * INTERVAL_S + 10):
            resume_deferred(self._messages)
            _report(resume_trainings(self._messages))
            _report(reconcile(self._messages, self._grace_s, self._wait))


def reconcile(messages: InFlight, grace_s: Mapping[str, float], wait: Callable[[float], object]) -> list[str]:
    """Look once, and return the messages that were published again.

    `grace_s` says how long a queue's messages may be unseen; its entry "" is for any other queue.
    """
    found = messages.suspects(min(grace_s.values()))
    lost = dict(_unseen(messages, found))
    if lost:
        wait(SECOND_LOOK_S)
        lost = dict(_unseen(messages, lost))
    patient = {name for name, grace in grace_s.items() if grace > min(grace_s.values())}
    if patient & set(lost.values()):
        unseen_longest = messages.suspects(max(grace_s.values()))
        lost = {id_: queue for id_, queue in lost.items() if queue not in patient or id_ in unseen_longest}
    return [message_id for message_id in lost if messages.republish(message_id)]


def resume_deferred(messages: InFlight) -> None:
    """Put deferred messages back whose time has come."""
    for message_id in messages.due():
        messages.republish(message_id, deferred=True)


def resume_trainings(messages: InFlight) -> list[str]:
    """Publish the trainings of killed trainers again, and return them.

    Their visibility timeout is as long as a training may take, so Redis would restore them very late.
    """
    return [run for run in messages.silent_runs(SILENT_S) if messages.republish(run)]


def _unseen(messages: InFlight, wanted: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Return the messages that are nowhere, and note that the others were seen."""
    if not wanted:
        return ()
    seen: set[str] = set()
    for queue in dict.fromkeys(wanted.values()):
        seen.update(messages.queued(queue))
    for key in (messages.store.keys.unacked, messages.store.keys.train_unacked):
        seen.update(messages.taken(key))
    # All that were seen, not only the wanted ones: the rest of a long queue need not be looked for soon.
    messages.touch(seen)
    return ((message_id, queue) for message_id, queue in wanted.items() if message_id not in seen)


def _report(republished: list[str]) -> None:
    if republished:
        logger.warning(
            "%d messages were lost and are published again, among them: %s",
            len(republished),
            ", ".join(republished[:IDS_SHOWN]),
        )
