"""What is kept of comparisons, and the labels: the shadow's side of Redis.

Everything is counted once, whatever is delivered again, and nothing grows with the number of texts: per pair of
versions a hash of counts, and the k sampled texts whose job ids have the smallest hashes. Such a bottom-k sample is
fair, does not depend on the order in which texts come, and every text is in it with the same probability, k of n.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Self

import orjson
from redis import Redis
from redis.exceptions import RedisError

from pointsman_shared import broker, errors, names
from pointsman_shared.settings import Settings

Kind = Literal["disagreements", "agreements"]
Row = dict[str, Any]

# The first write only removes: a Redis that is full refuses a script that begins by adding, and what is shed because it
# is full has to be counted.
# KEYS: guard, counts, pairs, rows, two samples. ARGV: guard's ttl, retention, pair, time, the number of fields, fields
# and additions, two sizes, then kind, score, job and row of each text that may be sampled.
_ADD = """
redis.call('HDEL', KEYS[3], '')
if not redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[1]) then return 0 end
local fields = tonumber(ARGV[5])
local room = tonumber(ARGV[6]) - redis.call('HLEN', KEYS[2])
local place = 7
for _ = 1, fields do
  local field = ARGV[place]
  if room > 0 or string.find(field, '"attribute"', 1, true) == nil or redis.call('HEXISTS', KEYS[2], field) == 1 then
    redis.call('HINCRBY', KEYS[2], field, ARGV[place + 1])
  end
  place = place + 2
end
local size = { tonumber(ARGV[place]), tonumber(ARGV[place + 1]) }
for at = place + 2, #ARGV, 4 do
  local kind = tonumber(ARGV[at])
  local sample = KEYS[4 + kind]
  redis.call('ZADD', sample, ARGV[at + 1], ARGV[at + 2])
  redis.call('HSETNX', KEYS[4], ARGV[at + 2], ARGV[at + 3])
end
for kind = 1, 2 do
  while redis.call('ZCARD', KEYS[4 + kind]) > size[kind] do
    local job = redis.call('ZPOPMAX', KEYS[4 + kind])[1]
    if redis.call('SISMEMBER', KEYS[7], job) == 0 then redis.call('HDEL', KEYS[4], job) end
  end
end
redis.call('HSET', KEYS[3], ARGV[3], ARGV[4])
for at = 2, 7 do redis.call('EXPIRE', KEYS[at], ARGV[2]) end
return 1
"""
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
# A shadow message may be delivered again for this long, however short the age at which it is shed.
GUARD_TTL_S = 600
PRESSURE_S = 1.0


class StoreUnavailableError(errors.RetryableError):
    """Redis cannot be reached, so that nothing could be counted."""


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
        self._sizes = {KINDS[0]: settings.shadow_samples, KINDS[1]: max(1, settings.shadow_samples // 4)}
        # A message that is shed for its age is never counted as anything else: no guard need live longer.
        self._guard_ttl_s = max(GUARD_TTL_S, 2 * settings.shadow_max_age_s, 2 * settings.visibility_timeout_s)
        self._pressure: tuple[float, str | None] = (0.0, None)

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        """Open the store. Nothing is sent yet."""
        return cls(Redis.from_url(settings.redis_url.get_secret_value(), **broker.SOCKET_OPTIONS), settings)

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

    def begin(self, message_id: str) -> int:
        """Count how often a shadow message was begun, this time included."""
        key = names.shadow_attempts_key(message_id)
        try:
            pipeline = self._redis.pipeline()
            pipeline.incr(key)
            pipeline.expire(key, self._guard_ttl_s)
            begun = pipeline.execute()[0]
        except RedisError as error:
            raise _unavailable(error) from error
        return int(begun)

    def end(self, message_id: str) -> None:
        """Forget how often it was begun: all that it has to say is counted."""
        try:
            self._redis.delete(names.shadow_attempts_key(message_id))
        except RedisError as error:
            raise _unavailable(error) from error

    def thresholds(self, pair: str) -> dict[Kind, float]:
        """Give for each kind the score below which a text is sampled; it only ever falls."""
        pipeline = self._redis.pipeline(transaction=False)
        for kind in KINDS:
            key = names.shadow_sample_key(pair, kind)
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

    def add(
        self,
        message_id: str,
        comparison: str,
        pair: str,
        fields: Mapping[str, int],
        sampled: Iterable[tuple[Kind, float, str, Row]] = (),
    ) -> bool:
        """Count one comparison of one message's texts, unless that was done before.

        Args:
            message_id: The served message's id.
            comparison: Which of its comparisons; a message's texts count once for each.
            pair: The pair of versions.
            fields: What to add.
            sampled: Kind, score, job and row of the texts that may be sampled.

        Returns:
            Whether it was counted now.

        Raises:
            StoreUnavailableError: Redis cannot be reached or refuses to write.
        """
        additions = [part for item in sorted(fields.items(), reverse=True) for part in item]
        rows = [
            part
            for kind, score, job, row in sampled
            for part in (KINDS.index(kind) + 1, repr(score), job, orjson.dumps(row))
        ]
        keys = [
            names.shadow_done_key(message_id, comparison),
            names.shadow_counts_key(pair),
            names.SHADOW_PAIRS_KEY,
            names.shadow_rows_key(pair),
            *(names.shadow_sample_key(pair, kind) for kind in KINDS),
            names.shadow_drawn_key(pair),
        ]
        head: list[Any] = [
            self._guard_ttl_s,
            self._settings.shadow_retention_s,
            pair,
            repr(time.time()),
            len(fields),
        ]
        try:
            counted = self._add(
                keys=keys, args=[*head, MAX_FIELDS, *additions, *(self._sizes[kind] for kind in KINDS), *rows]
            )
        except RedisError as error:
            raise _unavailable(error) from error
        return bool(counted)

    def pairs(self) -> dict[str, float]:
        """Give the pairs and when each last had texts, the latest first; those that are over are forgotten."""
        try:
            seen: Mapping[bytes, bytes] = self._redis.hgetall(names.SHADOW_PAIRS_KEY)  # type: ignore[assignment]
            at = {pair.decode(): float(last) for pair, last in seen.items()}
            gone = [pair for pair in at if not self._redis.exists(names.shadow_counts_key(pair))]
            if gone:
                self._redis.hdel(names.SHADOW_PAIRS_KEY, *gone)
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
            stored: Mapping[bytes, bytes] = self._redis.hgetall(names.shadow_counts_key(pair))  # type: ignore[assignment]
        except RedisError as error:
            raise _unavailable(error) from error
        return {name.decode(): int(count) for name, count in stored.items()}

    def sample(self, pair: str, kind: Kind, limit: int = -1) -> list[tuple[str, float]]:
        """Give the sampled jobs and their scores, the lowest first: a random order, always the same."""
        try:
            last = limit - 1 if limit > 0 else -1
            found: Any = self._redis.zrange(names.shadow_sample_key(pair, kind), 0, last, withscores=True)
        except RedisError as error:
            raise _unavailable(error) from error
        return [(job.decode(), score) for job, score in found]

    def rows(self, pair: str) -> dict[str, Row]:
        """Give what is known of each sampled or labelled job of a pair."""
        try:
            stored: Mapping[bytes, bytes] = self._redis.hgetall(names.shadow_rows_key(pair))  # type: ignore[assignment]
        except RedisError as error:
            raise _unavailable(error) from error
        return {job.decode(): orjson.loads(row) for job, row in stored.items()}

    def hand_out(self, pair: str, jobs: Sequence[str]) -> None:
        """Remember which jobs were drawn to be labelled; their rows stay."""
        key = names.shadow_drawn_key(pair)
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
            return {job.decode() for job in self._redis.smembers(names.shadow_drawn_key(pair))}  # type: ignore[union-attr]
        except RedisError as error:
            raise _unavailable(error) from error

    def label(self, job: str, row: Row) -> None:
        """Write a label down; a correction keeps its place in the order."""
        try:
            self._label(keys=[names.LABELS_KEY, names.LABELS_COUNT_KEY], args=[job, orjson.dumps(row)])
        except RedisError as error:
            raise _unavailable(error) from error

    def labels(self) -> dict[str, Row]:
        """Give all labels by job, in the order in which they first arrived."""
        try:
            stored: Mapping[bytes, bytes] = self._redis.hgetall(names.LABELS_KEY)  # type: ignore[assignment]
        except RedisError as error:
            raise _unavailable(error) from error
        rows = ((job.decode(), orjson.loads(row)) for job, row in stored.items())
        return dict(sorted(rows, key=lambda item: item[1]["place"]))

    def _look(self) -> str | None:
        try:
            here = self._settings.broker_url is None
            if here and int(self._redis.llen(names.SHADOW_QUEUE)) >= self._settings.shadow_max_queue:
                return "queue_length"
            memory: Mapping[str, Any] = self._redis.info("memory")
        except RedisError:
            return "redis_unavailable"
        limit = int(memory.get("maxmemory") or memory.get("total_system_memory") or 0)
        full = limit and int(memory["used_memory"]) > self._settings.shadow_max_memory * limit
        return "redis_memory" if full else None


def _unavailable(error: RedisError) -> StoreUnavailableError:
    return StoreUnavailableError(f"Redis: {error}")
