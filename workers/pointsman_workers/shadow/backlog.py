"""Served messages that wait to be shadowed, as Redis holds them.

The transaction that stores an outcome also puts the message here, at next to no cost: it renames the ledger's entry,
which holds the request, instead of deleting it. A worker takes messages and holds them for a while; the transaction that
counts them deletes them, and only for their holder. So each text is counted once, and that needs no dedup set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import orjson

from pointsman_shared import names
from pointsman_shared.store import scripts
from pointsman_shared.store.connection import Store
from pointsman_shared.store.keys import Keys

MIB: Final = 1024 * 1024
MAX_MESSAGES: Final = 100

# What the ledger does beside storing an outcome.
KEEP: Final = scripts.read(__file__, "keep")
TAKE: Final = scripts.load(__file__, "take")
NOTE: Final = scripts.load(__file__, "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A served message whose texts are to be compared, or at least counted.

    Attributes:
        message_id: Its id.
        tries: How often it was taken, this time included.
        doing: The version that had the texts when the last try ended abruptly.
        served_at: When it was served, in seconds since the epoch.
        places: The places of its texts to shadow; None for all.
        shed: The reason for only counting them, or None.
        message: The message as it lay in the queue, or None.
        outcome: The stored outcome, or None.
    """

    message_id: str
    tries: int
    doing: str | None
    served_at: float
    places: list[int] | None
    shed: str | None
    message: bytes | None
    outcome: bytes | None

    @classmethod
    def parse(cls, message_id: bytes, flat: Sequence[bytes], outcome: bytes | None) -> Self:
        """Read what the script found."""
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        return cls(
            message_id=message_id.decode(),
            tries=int(fields[b"tries"]),
            doing=fields[b"doing"].decode() if b"doing" in fields else None,
            served_at=float(fields[b"served_at"]),
            places=orjson.loads(fields[b"places"]) if fields[b"places"] else None,
            shed=fields[b"shed"].decode() or None,
            message=fields.get(b"message"),
            outcome=outcome,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The state of the backlog."""

    ready: int
    calls: int
    users: int


def wish(
    keys: Keys,
    message_id: str,
    *,
    texts: int,
    places: Sequence[int] | None,
    shed: str | None,
    limit_bytes: int,
) -> Mapping[str, Any]:
    """Return what the ledger hands to `keep.lua` for a message of which some texts are to be shadowed."""
    return {
        "kept": keys.shadow_kept(message_id),
        "waiting": keys.shadow_waiting,
        "bytes": keys.shadow_bytes,
        "stats": keys.stats,
        "dropped": names.SHADOW_DROPPED,
        "texts": texts,
        "places": "" if places is None else orjson.dumps(list(places)).decode(),
        "shed": shed or "",
        "limit": limit_bytes,
    }


class Backlog:
    """The messages that wait. All methods raise `connection.UNAVAILABLE` if Redis is away or full."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys = store.keys

    def look(self) -> Look:
        """Return the state of the backlog and of the queues."""
        pipeline = self._store.pipeline(transaction=False)
        pipeline.zcount(self._keys.shadow_waiting, "-inf", self._store.now())
        for queue in (names.SHADOW_QUEUE, *names.SERVING_QUEUES):
            pipeline.llen(self._keys.queue(queue))
        ready, calls, *users = pipeline.execute()
        return Look(ready=ready, calls=calls, users=sum(users))

    def take(
        self, holder: str, *, most_texts: int, hold_s: float, yields: bool, alone: bool = False
    ) -> list[Taken]:
        """Take the messages that have waited longest, at least one if there is any.

        With `yields`, none is taken while messages lie in the serving queues; with `alone`, also none while a message
        is being served.
        """
        now = self._store.now()
        interactive, bulk = map(self._keys.queue, names.SERVING_QUEUES)
        found = TAKE(
            self._store,
            waiting=self._keys.shadow_waiting,
            bytes=self._keys.shadow_bytes,
            stats=self._keys.stats,
            unacked=self._keys.unacked,
            interactive=interactive,
            bulk=bulk,
            now=now,
            hold_until=now + hold_s,
            holder=holder,
            most_texts=most_texts,
            most_messages=MAX_MESSAGES,
            kept_prefix=self._keys.shadow_kept(""),
            result_prefix=self._keys.result(""),
            dropped=names.SHADOW_DROPPED,
            yields=int(yields),
            alone=int(alone),
        )
        return [Taken.parse(*one) for one in found]

    def age_s(self, taken: Taken) -> float:
        """Return how long ago a message was served."""
        return self._store.now() - taken.served_at

    def note(self, message_id: str, version: str) -> None:
        """Note which version works on a message now: if the process ends, the next worker knows."""
        NOTE(self._store, kept=self._keys.shadow_kept(message_id), version=version)

    def drop(self, messages: int) -> None:
        """Count messages that cannot be compared or counted by pair."""
        self._store.hincrby(self._keys.stats, names.SHADOW_DROPPED, messages)
