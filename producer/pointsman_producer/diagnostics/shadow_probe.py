"""Reading how shadow work is going: what waits, what was left out, which candidates are in trouble."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis

from pointsman_shared import names
from pointsman_shared.store import keys

# As the store of comparisons writes it: see `pointsman_models.comparison.counts`.
_MISSED = ("missed", "shed"), ("missed", "failed")
_COMPARED = ("texts", "day")
# What has had no texts for longer is over.
RECENT_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A candidate that does not do its work.

    Attributes:
        version: As `pro@8`.
        reason: What happened last, in a word.
        failures: How often in a row.
        until: When it is tried again, in seconds since the epoch; 0 if it is not left alone.
    """

    version: str
    reason: str
    failures: int
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowState:
    """How shadow work is going.

    Attributes:
        waiting: Served messages that wait to be compared.
        oldest_at: When the first of them was served, in seconds since the epoch; None if there are none.
        used_bytes: What they take, about.
        limit_bytes: What they may take.
        dropped: Messages that were neither compared nor counted.
        sampled: Texts by pair of versions that had some within a day, those that were not compared included.
        missed: By pair those that were not, by reason.
        troubles: Candidates that do not do their work.
    """

    waiting: int
    oldest_at: float | None
    used_bytes: int
    limit_bytes: int
    dropped: int
    sampled: Mapping[str, int]
    missed: Mapping[str, Mapping[str, int]]
    troubles: tuple[Trouble, ...]


def read(redis: Redis, limit_mib: int, now: float) -> ShadowState:
    """Ask Redis.

    Args:
        redis: Where shadow work waits and is counted.
        limit_mib: How much may wait.
        now: In seconds since the epoch.
    """
    first: Any = redis.zrange(keys.SHADOW_WAITING, 0, 0)
    oldest: Any = redis.hget(keys.shadow_kept(first[0].decode()), "served_at") if first else None
    pairs: Mapping[bytes, bytes] = redis.hgetall(keys.SHADOW_PAIRS)  # type: ignore[assignment]
    counts = {
        pair.decode(): _counts(redis, pair.decode())
        for pair, last_at in pairs.items()
        if float(last_at) > now - RECENT_S
    }
    troubles: Mapping[bytes, bytes] = redis.hgetall(keys.SHADOW_TROUBLE)  # type: ignore[assignment]
    return ShadowState(
        waiting=int(redis.zcard(keys.SHADOW_WAITING)),
        oldest_at=float(oldest) if oldest else None,
        used_bytes=int(redis.get(keys.SHADOW_BYTES) or 0),
        limit_bytes=limit_mib * 2**20,
        dropped=int(redis.hget(keys.STATS, names.SHADOW_DROPPED) or 0),
        sampled={pair: compared + sum(missed.values()) for pair, (compared, missed) in counts.items()},
        missed={pair: missed for pair, (_, missed) in counts.items() if missed},
        troubles=tuple(_trouble(version.decode(), state) for version, state in sorted(troubles.items())),
    )


def _counts(redis: Redis, pair: str) -> tuple[int, dict[str, int]]:
    """Give the texts that were compared, and those that were not by reason."""
    compared, missed = 0, {}
    stored: Mapping[bytes, bytes] = redis.hgetall(keys.shadow_counts(pair))  # type: ignore[assignment]
    for field, count in stored.items():
        kind, group, *rest = json.loads(field)
        if (kind, group) in _MISSED:
            missed[rest[0]] = int(count)
        if (kind, group) == _COMPARED:
            compared += int(count)
    return compared, missed


def _trouble(version: str, stored: bytes) -> Trouble:
    state = json.loads(stored)
    return Trouble(
        version=version,
        reason=str(state["reason"]),
        failures=int(state["failures"]),
        until=float(state["until"]),
    )
