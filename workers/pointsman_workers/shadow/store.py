"""The comparisons, as Redis holds them.

Every text is counted once, however often it is delivered, and nothing grows with the number of texts: a pair of versions
has a hash of counts, and the k sampled texts whose job ids have the smallest hashes. Such a bottom-k sample is fair,
does not depend on the order of the texts, and holds every text with the same probability, k of n.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from pointsman_shared.settings import Settings
from pointsman_shared.store import scripts
from pointsman_shared.store.connection import UNAVAILABLE, Store
from pointsman_shared.store.keys import Keys

Kind = Literal["disagreements", "agreements"]
Row = dict[str, Any]

KINDS: Final[tuple[Kind, Kind]] = ("disagreements", "agreements")
# How many disagreements are kept of each pair, and a quarter as many agreements.
SAMPLES: Final = 1_000
MAX_FIELDS: Final = 5_000
# When Redis uses this share of its memory, shadow work is shed; Redis is asked once a second.
MAX_MEMORY: Final = 0.8
MEMORY_S: Final = 1.0
# A version that was not asked for in a day has no trouble any more.
TROUBLE_TTL_S: Final = 86_400

COUNT: Final = scripts.load(__file__, "count")


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """What is to be counted of one pair of versions."""

    fields: Mapping[str, int]
    sampled: Sequence[tuple[Kind, float, str, Row]] = ()


class Comparisons:
    """The store of comparisons. All methods raise `connection.UNAVAILABLE` if Redis is away or full."""

    def __init__(
        self, store: Store, settings: Settings, *, samples: int = SAMPLES, max_memory: float = MAX_MEMORY
    ) -> None:
        self._store = store
        self._keys = store.keys
        self._retention_s = settings.shadow_retention_s
        self._max_memory = max_memory
        # A quarter as many agreements, rounded up; none where none are wanted.
        self._sizes: dict[Kind, int] = {"disagreements": samples, "agreements": -(-samples // 4)}
        self._memory: tuple[float, str | None] = (float("-inf"), None)

    def size(self, kind: Kind) -> int:
        """Return how many texts of a kind are kept of a pair at most."""
        return self._sizes[kind]

    def pressure(self) -> str | None:
        """Return the reason for shedding shadow work now, or None. Asks Redis at most once a second."""
        looked, reason = self._memory
        if time.monotonic() - looked >= MEMORY_S:
            reason = self._look()
            self._memory = (time.monotonic(), reason)
        return reason

    def troubles(self) -> dict[str, Row]:
        """Return what is wrong with which version as a candidate."""
        stored: Mapping[bytes, bytes] = self._store.hgetall(self._keys.shadow_trouble)  # type: ignore[assignment]
        return {name.decode(): orjson.loads(state) for name, state in stored.items()}

    def trouble(self, version: str, state: Row | None) -> None:
        """Write down what is wrong with a version; None for nothing any more."""
        if state is None:
            self._store.hdel(self._keys.shadow_trouble, version)
            return
        pipeline = self._store.pipeline()
        pipeline.hset(self._keys.shadow_trouble, version, orjson.dumps(state))
        pipeline.expire(self._keys.shadow_trouble, TROUBLE_TTL_S)
        pipeline.execute()

    def thresholds(self, pair: str) -> dict[Kind, float]:
        """Return for each kind the score below which a text is sampled; it only ever falls."""
        if not self._sizes["disagreements"]:
            return dict.fromkeys(KINDS, 0.0)
        pipeline = self._store.pipeline(transaction=False)
        for kind in KINDS:
            key = self._keys.shadow_sample(pair, kind)
            pipeline.zcard(key)
            pipeline.zrange(key, -1, -1, withscores=True)
        found = pipeline.execute()
        return {
            kind: found[2 * at + 1][0][1] if found[2 * at] >= self._sizes[kind] else 1.0
            for at, kind in enumerate(KINDS)
        }

    def add(self, holder: str, messages: Sequence[str], additions: Mapping[str, Addition]) -> bool:
        """Count the comparison of some messages and let the messages go, in one step."""
        what = {
            "holder": holder,
            "kept": self._keys.shadow_kept(""),
            "messages": list(messages),
            "pairs_key": self._keys.shadow_pairs,
            "retention": self._retention_s,
            "now": self._store.now(),
            "most_fields": MAX_FIELDS,
            "sizes": [self._sizes[kind] for kind in KINDS],
            "pairs": [_as_argument(self._keys, pair, addition) for pair, addition in additions.items()],
        }
        done = COUNT(
            self._store,
            waiting=self._keys.shadow_waiting,
            bytes=self._keys.shadow_bytes,
            request=orjson.dumps(what),
        )
        return bool(done)

    def pairs(self) -> dict[str, float]:
        """Return the pairs and when each last had texts, the latest first; expired ones are forgotten."""
        seen: Mapping[bytes, bytes] = self._store.hgetall(self._keys.shadow_pairs)  # type: ignore[assignment]
        at = {pair.decode(): float(last) for pair, last in seen.items()}
        gone = [pair for pair in at if not self._store.exists(self._keys.shadow_counts(pair))]
        if gone:
            self._store.hdel(self._keys.shadow_pairs, *gone)
        return {pair: at[pair] for pair in sorted(at, key=at.__getitem__, reverse=True) if pair not in gone}

    def fields(self, pair: str) -> dict[str, int]:
        """Return the counts of a pair."""
        stored: Mapping[bytes, bytes] = self._store.hgetall(self._keys.shadow_counts(pair))  # type: ignore[assignment]
        return {name.decode(): int(count) for name, count in stored.items()}

    def sample(self, pair: str, kind: Kind) -> list[str]:
        """Return the sampled jobs in a random order that is always the same."""
        found: Any = self._store.zrange(self._keys.shadow_sample(pair, kind), 0, -1)
        return [job.decode() for job in found]

    def rows(self, pair: str) -> dict[str, Row]:
        """Return what is known of each sampled or labelled job of a pair."""
        stored: Mapping[bytes, bytes] = self._store.hgetall(self._keys.shadow_rows(pair))  # type: ignore[assignment]
        return {job.decode(): orjson.loads(row) for job, row in stored.items()}

    def rows_of(self, jobs: Sequence[str]) -> dict[str, Row]:
        """Return what any pair knows of some jobs."""
        pipeline = self._store.pipeline(transaction=False)
        for pair in self.pairs() if jobs else ():
            pipeline.hmget(self._store.keys.shadow_rows(pair), list(jobs))
        found = pipeline.execute()
        return {job: orjson.loads(row) for rows in found for job, row in zip(jobs, rows, strict=True) if row}

    def texts_of(self, message_id: str) -> int:
        """Return how many texts a message had whose outcome is still there; 0 for any other."""
        raw = self._store.get(self._keys.result(message_id))
        found = orjson.loads(raw)["result"] if raw is not None else None
        return len(found["intent"]) if isinstance(found, dict) and "intent" in found else 0

    def hand_out(self, pair: str, jobs: Sequence[str]) -> None:
        """Remember which jobs were drawn to be labelled; their rows stay."""
        if not jobs:
            return
        pipeline = self._store.pipeline()
        pipeline.sadd(self._keys.shadow_drawn(pair), *jobs)
        pipeline.expire(self._keys.shadow_drawn(pair), self._retention_s)
        pipeline.execute()

    def drawn(self, pair: str) -> set[str]:
        """Return the jobs that were drawn to be labelled."""
        found: Any = self._store.smembers(self._keys.shadow_drawn(pair))
        return {job.decode() for job in found}

    def _look(self) -> str | None:
        try:
            memory: Mapping[str, Any] = self._store.info("memory")
        except UNAVAILABLE:
            # Then there is no outcome to be stored either.
            return None
        limit = int(memory.get("maxmemory") or memory.get("total_system_memory") or 0)
        full = limit and int(memory["used_memory"]) > self._max_memory * limit
        return "redis_memory" if full else None


def _as_argument(keys: Keys, pair: str, addition: Addition) -> dict[str, Any]:
    return {
        "name": pair,
        "counts": keys.shadow_counts(pair),
        "rows": keys.shadow_rows(pair),
        "samples": [keys.shadow_sample(pair, kind) for kind in KINDS],
        "drawn": keys.shadow_drawn(pair),
        "fields": addition.fields,
        "sampled": [
            (KINDS.index(kind) + 1, score, job, orjson.dumps(row).decode())
            for kind, score, job, row in addition.sampled
        ],
    }
