"""What is kept of comparisons, and the labels: the shadow's side of Redis.

Everything is counted once, whatever is delivered again, and nothing grows with the number of texts: per pair of
versions a hash of counts, and the k sampled texts whose job ids have the smallest hashes. Such a bottom-k sample is
fair, does not depend on the order in which texts come, and every text is in it with the same probability, k of n.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import orjson
from redis import Redis
from redis.exceptions import RedisError

from pointsman_shared.broker import config as broker_config
from pointsman_shared.settings import Settings
from pointsman_shared.store import keys
from pointsman_workers.shadow import backlog
from pointsman_workers.shadow.backlog import StoreUnavailableError

Kind = Literal["disagreements", "agreements"]
Row = dict[str, Any]

# KEYS: waiting, its bytes, pairs; then of each pair counts, rows, two samples, the drawn. ARGV: holder, prefix, the number
# of settled messages, those with how far each is done; then retention, time, most fields, two sizes; then of each pair
# its name, the number of fields, fields and additions, the number of rows, kind, score, job and row of each.
_ADD = (
    backlog.SETTLE
    + """
local place = 4 + 2 * tonumber(ARGV[3])
if not settle(KEYS[1], KEYS[2], ARGV[2], ARGV[1], 4, place - 1) then return 0 end
local retention, now, most = ARGV[place], ARGV[place + 1], tonumber(ARGV[place + 2])
local size = { tonumber(ARGV[place + 3]), tonumber(ARGV[place + 4]) }
place = place + 5
for key = 4, #KEYS, 5 do
  local counts, rows, drawn = KEYS[key], KEYS[key + 1], KEYS[key + 4]
  redis.call('HSET', KEYS[3], ARGV[place], now)
  local room = most - redis.call('HLEN', counts)
  local fields = tonumber(ARGV[place + 1])
  place = place + 2
  for _ = 1, fields do
    local field = ARGV[place]
    if room > 0 or string.find(field, '"attribute"', 1, true) == nil or redis.call('HEXISTS', counts, field) == 1 then
      redis.call('HINCRBY', counts, field, ARGV[place + 1])
    end
    place = place + 2
  end
  local sampled = tonumber(ARGV[place])
  place = place + 1
  for _ = 1, sampled do
    redis.call('ZADD', KEYS[key + 1 + tonumber(ARGV[place])], ARGV[place + 1], ARGV[place + 2])
    redis.call('HSETNX', rows, ARGV[place + 2], ARGV[place + 3])
    place = place + 4
  end
  for kind = 1, 2 do
    local sample = KEYS[key + 1 + kind]
    while redis.call('ZCARD', sample) > size[kind] do
      local job = redis.call('ZPOPMAX', sample)[1]
      if redis.call('SISMEMBER', drawn, job) == 0 then redis.call('HDEL', rows, job) end
    end
  end
  for at = key, key + 4 do redis.call('EXPIRE', KEYS[at], retention) end
end
redis.call('EXPIRE', KEYS[3], retention)
return 1
"""
)
# A label that is corrected keeps its place.
_LABEL = """
local row = cjson.decode(ARGV[2])
local before = redis.call('HGET', KEYS[1], ARGV[1])
row['place'] = before and cjson.decode(before)['place'] or redis.call('INCR', KEYS[2])
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(row))
return 1
"""
KINDS: tuple[Kind, Kind] = ("disagreements", "agreements")
MAX_FIELDS = 5_000
PRESSURE_S = 1.0
# A candidate that nobody has asked for so long has no trouble any more.
TROUBLE_TTL_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """What is to be counted of one pair of versions.

    Attributes:
        fields: What to add.
        sampled: Kind, score, job and row of the texts that may be sampled.
    """

    fields: Mapping[str, int]
    sampled: Sequence[tuple[Kind, float, str, Row]] = ()

    def arguments(self) -> list[Any]:
        """Give the script's arguments."""
        fields = [part for item in sorted(self.fields.items(), reverse=True) for part in item]
        rows = [
            part
            for kind, score, job, row in self.sampled
            for part in (KINDS.index(kind) + 1, repr(score), job, orjson.dumps(row))
        ]
        return [len(self.fields), *fields, len(self.sampled), *rows]


class Comparisons:
    """The store of comparisons and labels.

    Args:
        redis: The connection; it belongs to the process that made it.
        settings: Sizes and times.
    """

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._settings = settings
        self._add = redis.register_script(_ADD)
        self._label = redis.register_script(_LABEL)
        # A quarter as many agreements, rounded up; none where none are wanted.
        self._sizes = {KINDS[0]: settings.shadow_samples, KINDS[1]: -(-settings.shadow_samples // 4)}
        self._pressure: tuple[float, str | None] = (0.0, None)

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        """Open the store. Nothing is sent yet."""
        return cls(
            Redis.from_url(settings.redis_url.get_secret_value(), **broker_config.SOCKET_OPTIONS), settings
        )

    def size(self, kind: Kind) -> int:
        """Say how many texts of a kind are kept of a pair at most."""
        return self._sizes[kind]

    def pressure(self) -> str | None:
        """Say why shadow work must be shed now, if it must. Asks Redis at most once a second."""
        looked, reason = self._pressure
        if time.monotonic() - looked >= PRESSURE_S:
            reason = self._look()
            self._pressure = (time.monotonic(), reason)
        return reason

    def troubles(self) -> dict[str, Row]:
        """Give by version what is wrong with it as a candidate."""
        try:
            stored: Mapping[bytes, bytes] = self._redis.hgetall(keys.SHADOW_TROUBLE)  # type: ignore[assignment]
        except RedisError as error:
            raise _unavailable(error) from error
        return {name.decode(): orjson.loads(state) for name, state in stored.items()}

    def trouble(self, version: str, state: Row | None) -> None:
        """Write down what is wrong with a version, or that nothing is any more."""
        try:
            if state is None:
                self._redis.hdel(keys.SHADOW_TROUBLE, version)
                return
            pipeline = self._redis.pipeline()
            pipeline.hset(keys.SHADOW_TROUBLE, version, orjson.dumps(state))
            pipeline.expire(keys.SHADOW_TROUBLE, TROUBLE_TTL_S)
            pipeline.execute()
        except RedisError as error:
            raise _unavailable(error) from error

    def thresholds(self, pair: str) -> dict[Kind, float]:
        """Give for each kind the score below which a text is sampled; it only ever falls."""
        if not self._settings.shadow_samples:
            return dict.fromkeys(KINDS, 0.0)
        pipeline = self._redis.pipeline(transaction=False)
        for kind in KINDS:
            key = keys.shadow_sample(pair, kind)
            pipeline.zcard(key)
            pipeline.zrange(key, -1, -1, withscores=True)
        try:
            found = pipeline.execute()
        except RedisError as error:
            raise _unavailable(error) from error
        return {
            kind: found[2 * at + 1][0][1] if found[2 * at] >= self._sizes[kind] else 1.0
            for at, kind in enumerate(KINDS)
        }

    def add(self, holder: str, settled: Mapping[str, int | None], additions: Mapping[str, Addition]) -> bool:
        """Count what was found out of some messages, and let them go, in one step.

        Args:
            holder: Who holds them.
            settled: By message how many of its texts are done now; None for all.
            additions: By pair of versions what to count.

        Returns:
            Whether it was counted. It was not if one of the messages was no longer held.

        Raises:
            StoreUnavailableError: Redis cannot be reached or refuses to write.
        """
        touched = [keys.SHADOW_WAITING, keys.SHADOW_BYTES, keys.SHADOW_PAIRS]
        args: list[Any] = [holder, keys.shadow_kept(""), len(settled)]
        for message_id, done in settled.items():
            args += [message_id, "" if done is None else done]
        args += [self._settings.shadow_retention_s, repr(time.time()), MAX_FIELDS, *self._sizes.values()]
        for pair, addition in additions.items():
            touched += [
                keys.shadow_counts(pair),
                keys.shadow_rows(pair),
                *(keys.shadow_sample(pair, kind) for kind in KINDS),
                keys.shadow_drawn(pair),
            ]
            args += [pair, *addition.arguments()]
        try:
            return bool(self._add(keys=touched, args=args))
        except RedisError as error:
            raise _unavailable(error) from error

    def pairs(self) -> dict[str, float]:
        """Give the pairs and when each last had texts, the latest first; those that are over are forgotten."""
        try:
            seen: Mapping[bytes, bytes] = self._redis.hgetall(keys.SHADOW_PAIRS)  # type: ignore[assignment]
            at = {pair.decode(): float(last) for pair, last in seen.items()}
            gone = [pair for pair in at if not self._redis.exists(keys.shadow_counts(pair))]
            if gone:
                self._redis.hdel(keys.SHADOW_PAIRS, *gone)
        except RedisError as error:
            raise _unavailable(error) from error
        return dict(
            sorted(
                ((pair, last) for pair, last in at.items() if pair not in gone),
                key=lambda x: x[1],
                reverse=True,
            )
        )

    def fields(self, pair: str) -> dict[str, int]:
        """Give what was counted of a pair."""
        try:
            stored: Mapping[bytes, bytes] = self._redis.hgetall(keys.shadow_counts(pair))  # type: ignore[assignment]
        except RedisError as error:
            raise _unavailable(error) from error
        return {name.decode(): int(count) for name, count in stored.items()}

    def sample(self, pair: str, kind: Kind, limit: int = -1) -> list[tuple[str, float]]:
        """Give the sampled jobs and their scores, the lowest first: a random order, always the same."""
        try:
            last = limit - 1 if limit > 0 else -1
            found: Any = self._redis.zrange(keys.shadow_sample(pair, kind), 0, last, withscores=True)
        except RedisError as error:
            raise _unavailable(error) from error
        return [(job.decode(), score) for job, score in found]

    def rows(self, pair: str) -> dict[str, Row]:
        """Give what is known of each sampled or labelled job of a pair."""
        try:
            stored: Mapping[bytes, bytes] = self._redis.hgetall(keys.shadow_rows(pair))  # type: ignore[assignment]
        except RedisError as error:
            raise _unavailable(error) from error
        return {job.decode(): orjson.loads(row) for job, row in stored.items()}

    def hand_out(self, pair: str, jobs: Sequence[str]) -> None:
        """Remember which jobs were drawn to be labelled; their rows stay."""
        key = keys.shadow_drawn(pair)
        if not jobs:
            return
        try:
            pipeline = self._redis.pipeline()
            pipeline.sadd(key, *jobs)
            pipeline.expire(key, self._settings.shadow_retention_s)
            pipeline.execute()
        except RedisError as error:
            raise _unavailable(error) from error

    def drawn(self, pair: str) -> set[str]:
        """Give the jobs that were drawn to be labelled."""
        try:
            return {job.decode() for job in self._redis.smembers(keys.shadow_drawn(pair))}  # type: ignore[union-attr]
        except RedisError as error:
            raise _unavailable(error) from error

    def label(self, job: str, row: Row) -> None:
        """Write a label down; a correction keeps its place in the order."""
        try:
            self._label(keys=[keys.LABELS, keys.LABELS_COUNT], args=[job, orjson.dumps(row)])
        except RedisError as error:
            raise _unavailable(error) from error

    def labels(self) -> dict[str, Row]:
        """Give all labels by job, in the order in which they first arrived."""
        try:
            stored: Mapping[bytes, bytes] = self._redis.hgetall(keys.LABELS)  # type: ignore[assignment]
        except RedisError as error:
            raise _unavailable(error) from error
        rows = ((job.decode(), orjson.loads(row)) for job, row in stored.items())
        return dict(sorted(rows, key=lambda item: item[1]["place"]))

    def _look(self) -> str | None:
        try:
            memory: Mapping[str, Any] = self._redis.info("memory")
        except RedisError:
            # Then there is no outcome to be stored either.
            return None
        limit = int(memory.get("maxmemory") or memory.get("total_system_memory") or 0)
        full = limit and int(memory["used_memory"]) > self._settings.shadow_max_memory * limit
        return "redis_memory" if full else None


def _unavailable(error: RedisError) -> StoreUnavailableError:
    return StoreUnavailableError(f"Redis: {error}")
