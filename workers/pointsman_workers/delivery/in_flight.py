"""The messages in flight, as Redis holds them: in the ledger, in the queues, taken and unacknowledged."""

import json
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, Final, Self, cast

from pointsman_shared import names
from pointsman_shared.settings import Settings
from pointsman_shared.store import dead_letters, scripts
from pointsman_shared.store.connection import Store

PAGE: Final = 200
MOST_SUSPECTS: Final = 5_000

QUEUED: Final = scripts.load(__file__, "queued", scripts.IDS)
TAKEN: Final = scripts.load(__file__, "taken", scripts.IDS)
REPUBLISH: Final = scripts.load(__file__, "republish")


class InFlight:
    """Finds messages in flight and puts lost ones back on their queue.

    All methods raise `connection.UNAVAILABLE` if Redis is away or full.
    """

    def __init__(self, store: Store, letters: dead_letters.DeadLetters) -> None:
        self.store = store
        self._keys = store.keys
        self.letters = letters

    @classmethod
    def open(cls, store: Store, settings: Settings) -> Self:
        """Make it, with the dead letters of the settings."""
        return cls(store, dead_letters.DeadLetters(store, ttl_s=settings.dead_letter_ttl_s))

    def claim(self, owner: str, ttl_s: float) -> bool:
        """Become, or stay, the only worker that looks for lost messages, for a while."""
        if self.store.get(self._keys.reconciler) == owner.encode():
            return bool(self.store.pexpire(self._keys.reconciler, int(ttl_s * 1000)))
        return bool(self.store.set(self._keys.reconciler, owner, nx=True, px=int(ttl_s * 1000)))

    def suspects(self, unseen_for_s: float) -> dict[str, str]:
        """Return the messages that were not seen anywhere for a while, with their queues."""
        ends = self.store.now() - unseen_for_s
        found: Any = self.store.zrangebyscore(self._keys.open_index, "-inf", ends, start=0, num=MOST_SUSPECTS)
        ids = [raw.decode() for raw in found]
        queues = dict(zip(ids, self._read(ids, "queue"), strict=True))
        # Without an entry there is nothing to publish; the index alone must not grow.
        self._forget([message_id for message_id, queue in queues.items() if queue is None])
        return {message_id: queue.decode() for message_id, queue in queues.items() if queue is not None}

    def queued(self, queue: str) -> Iterator[str]:
        """Yield the ids of the messages in a queue."""
        start = 0
        # From the end that is served last: a message that is taken meanwhile is found among the taken ones.
        while ids := QUEUED(self.store, queue=queue, first=start, last=start + PAGE - 1):
            yield from (raw.decode() for raw in ids)
            start += PAGE

    def taken(self, unacked_key: str) -> list[str]:
        """Return the ids of the messages that were taken from a queue and are not acknowledged."""
        return [raw.decode() for raw in TAKEN(self.store, unacked=unacked_key)]

    def silent_runs(self, silent_for_s: float) -> list[str]:
        """Return the trainings that were taken and started, and are silent since."""
        taken = self.taken(self._keys.train_unacked)
        ends = self.store.now() - silent_for_s
        heard = zip(taken, self._read(taken, "alive_at"), strict=True)
        silent = {run for run, at in heard if at is not None and float(at) < ends}
        return sorted(silent - set(self.queued(self._keys.queue(names.TRAIN_QUEUE)))) if silent else []

    def touch(self, message_ids: Iterable[str]) -> None:
        """Note that messages were seen."""
        now = self.store.now()
        if seen := dict.fromkeys(message_ids, now):
            self.store.zadd(self._keys.open_index, seen, xx=True)

    def defer(self, message_id: str, until: float) -> None:
        """Have a message wait in the ledger, in no queue, until a time."""
        pipeline = self.store.pipeline()
        # A full Redis refuses what adds first, and the index has the message.
        pipeline.zadd(self._keys.open_index, {message_id: until})
        pipeline.zadd(self._keys.deferred, {message_id: until})
        pipeline.execute()

    def due(self) -> list[str]:
        """Return the deferred messages whose time has come."""
        found: Any = self.store.zrangebyscore(
            self._keys.deferred, "-inf", self.store.now(), start=0, num=MOST_SUSPECTS
        )
        return [raw.decode() for raw in found]

    def republish(self, message_id: str, *, deferred: bool = False) -> bool:
        """Put a message back on its queue, to be taken next; return False if it has an outcome by now.

        A deferred message is put back only if it still is deferred, and does not count as lost.
        """
        message, queue = cast(
            "list[bytes | None]", self.store.hmget(self._keys.open(message_id), "message", "queue")
        )
        done = REPUBLISH(
            self.store,
            index=self._keys.open_index,
            entry=self._keys.open(message_id),
            guard=self._keys.done(message_id),
            queue=(queue or b"").decode(),
            stats=self._keys.stats,
            deferred=self._keys.deferred,
            id=message_id,
            now=self.store.now(),
            message=with_new_tag(message) if message is not None else b"",
            is_deferred=int(deferred),
        )
        return bool(done)

    def enter(self, message_id: str, queue: str, raw: bytes) -> None:
        """Open an entry for a message whose publisher keeps no ledger."""
        now = self.store.now()
        pipeline = self.store.pipeline()
        entry: dict[str, Any] = {"queue": queue, "message": raw, "at": now}
        for field, value in entry.items():
            pipeline.hsetnx(self._keys.open(message_id), field, value)
        pipeline.persist(self._keys.open(message_id))
        pipeline.zadd(self._keys.open_index, {message_id: now}, nx=True)
        pipeline.execute()

    def may_be(self, message_id: str, body: object) -> bool:
        """Return whether a message has this id, as far as the ledger knows: it may have entered another message."""
        entered: Any = self.store.hget(self._keys.open(message_id), "message")
        return entered is None or json.loads(entered).get("body") == body

    def _read(self, message_ids: list[str], field: str) -> list[bytes | None]:
        pipeline = self.store.pipeline(transaction=False)
        for message_id in message_ids:
            pipeline.hget(self._keys.open(message_id), field)
        return pipeline.execute() if message_ids else []

    def _forget(self, message_ids: list[str]) -> None:
        if message_ids:
            self.store.zrem(self._keys.open_index, *message_ids)


def with_new_tag(raw: bytes) -> bytes:
    """Give a message another delivery tag: two copies with one tag would acknowledge each other."""
    message = json.loads(raw)
    message["properties"]["delivery_tag"] = str(uuid.uuid4())
    return json.dumps(message).encode()
