"""Finding messages that were lost on their way, and publishing them again.

Kombu's Redis transport takes a message off its queue and books it as unacknowledged in two steps; a worker that is
killed in between loses it. The ledger knows it is open, so what is open, in no queue and with nobody, is published
again under its own id. If it was not lost after all, the second delivery finds its outcome and does nothing.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from pointsman_shared import errors, names
from pointsman_shared.settings import Settings
from pointsman_shared.store import keys

logger = logging.getLogger(__name__)

# What a dead worker had taken is given back this long after the visibility timeout, at the latest.
RESTORE_MARGIN_S = 15.0
# Between the two looks at a message that seems lost: it may have been on its way from one place to another.
SECOND_LOOK_S = 1.0
# A trainer says every two seconds that it goes on. Its claim on the tier ends before this.
SILENT_S = 45.0
IDS_SHOWN = 5


class Open(Protocol):
    """The messages that have no outcome yet."""

    def suspects(self, unseen_for_s: float) -> Mapping[str, str]:
        """Give messages that were not known to be anywhere for a while, with their queues."""
        ...

    def queued(self, queue: str) -> Iterable[str]:
        """Give the ids of what lies on a queue."""
        ...

    def taken(self, unacked_key: str) -> Iterable[str]:
        """Give the ids of what was taken off a queue and is not acknowledged."""
        ...

    def silent_runs(self, silent_for_s: float) -> Iterable[str]:
        """Give the trainings that were begun and of which nothing was heard for a while."""
        ...

    def touch(self, message_ids: Iterable[str]) -> None:
        """Note that open messages are where they should be."""
        ...

    def due(self) -> Iterable[str]:
        """Give the messages that were put off until now."""
        ...

    def republish(self, message_id: str, *, was_put_off: bool = False) -> bool:
        """Put a message back on its queue, unless it has an outcome by now."""
        ...

    def claim(self, owner: str, ttl_s: float) -> bool:
        """Be, or stay, the one who looks for lost messages."""
        ...


def reconcile(messages: Open, grace_s: Mapping[str, float], wait: Callable[[float], object]) -> list[str]:
    """Look once.

    Args:
        messages: Where to look.
        grace_s: How long a queue's messages may be unseen; the entry under "" is for any other queue.
        wait: Sleeps.

    Returns:
        What was published again.
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


def resume(messages: Open) -> None:
    """Put back what was put off and whose time has come."""
    for message_id in messages.due():
        messages.republish(message_id, was_put_off=True)


def take_up(messages: Open) -> list[str]:
    """Publish the trainings again whose trainers were killed: the visibility timeout is as long as a training may take.

    Returns:
        What was published again.
    """
    return [message_id for message_id in messages.silent_runs(SILENT_S) if messages.republish(message_id)]


def _unseen(messages: Open, wanted: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Give those that are nowhere; note of the others that they were seen."""
    if not wanted:
        return ()
    seen: set[str] = set()
    for queue in dict.fromkeys(wanted.values()):
        seen.update(messages.queued(queue))
    for key in (keys.UNACKED, keys.TRAIN_UNACKED):
        seen.update(messages.taken(key))
    # All that were seen, not the wanted alone: the rest of a long queue need not be looked for soon.
    messages.touch(seen)
    return ((message_id, queue) for message_id, queue in wanted.items() if message_id not in seen)


class Reconciler:
    """A daemon thread of a worker's parent; of all of a deployment one at a time looks.

    Args:
        messages: Where to look.
        settings: How often, and how patiently.
        owner: What tells this process from the others.
    """

    def __init__(self, messages: Open, settings: Settings, owner: str) -> None:
        self._messages = messages
        self._owner = owner
        self._interval_s = settings.reconcile_interval_s
        self._grace_s = {
            "": settings.visibility_timeout_s + RESTORE_MARGIN_S,
            names.TRAIN_QUEUE: settings.train_visibility_timeout_s + RESTORE_MARGIN_S,
        }
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pointsman-reconciler", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the step under way."""
        self._stopped.set()
        # A worker that is ended before it was ready has not begun.
        if self._thread.ident is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_s):
            try:
                if self._messages.claim(self._owner, 3 * self._interval_s + 10):
                    resume(self._messages)
                    self._report(take_up(self._messages))
                    self._report(reconcile(self._messages, self._grace_s, self._stopped.wait))
            except errors.RetryableError as error:
                logger.warning("lost messages cannot be looked for now: %s", error)
            except Exception as error:  # a surprise must not end the only thread that finds what was lost
                logger.exception("looking for lost messages failed: %s", type(error).__name__)

    @staticmethod
    def _report(republished: list[str]) -> None:
        if republished:
            logger.warning(
                "%d messages had been lost and were published again, among them: %s",
                len(republished),
                ", ".join(republished[:IDS_SHOWN]),
            )
