"""The messages that have no outcome yet, as Redis holds them: in the ledger, on the queues, taken and unacknowledged.

With `ledger` the only module of the workers that knows Redis.
"""

import json
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from pointsman_shared import names
from pointsman_shared.settings import Settings
from pointsman_shared.store import dead_letters, keys
from pointsman_workers.delivery.ledger import LedgerUnavailableError, connection

# Only ids leave Redis, not the messages. An id stands behind the body, which is base64 and holds no quote; the
# search begins near the end, and only a message with uncommonly long headers is searched from its beginning.
_IDS = """
local function id_of(raw)
  local pattern = '"id\\\\?"%s*:%s*\\\\?"([^"\\\\]+)'
  return string.match(raw, pattern, math.max(1, #raw - 4096)) or string.match(raw, pattern) or ''
end
"""
_QUEUED = (
    _IDS
    + """
local ids = redis.call('LRANGE', KEYS[1], ARGV[1], ARGV[2])
for place = 1, #ids do ids[place] = id_of(ids[place]) end
return ids
"""
)
_TAKEN = (
    _IDS
    + """
local ids = redis.call('HVALS', KEYS[1])
for place = 1, #ids do ids[place] = id_of(ids[place]) end
return ids
"""
)

# Decided once more at the last moment, in one step with the publishing. The first write only removes, so that a Redis
# that is full lets it through.
_REPUBLISH = """
local was_put_off = redis.call('ZREM', KEYS[6], ARGV[1]) == 1
if ARGV[4] == '1' and not was_put_off then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
if redis.call('EXISTS', KEYS[3]) == 1 or redis.call('HEXISTS', KEYS[2], 'message') == 0 then
  redis.call('DEL', KEYS[2])
  return 0
end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('HDEL', KEYS[2], 'alive_at')
if ARGV[4] == '' then
  redis.call('HINCRBY', KEYS[2], 'republished', 1)
  redis.call('HINCRBY', KEYS[5], 'republished', 1)
end
redis.call('RPUSH', KEYS[4], ARGV[3])
return 1
"""
# The start that a worker has under way will not count against its message, if it does not come to an end.
_EXCUSE = """
local worker = redis.call('HGET', KEYS[1], 'worker')
if not worker or string.sub(worker, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'excused', redis.call('HGET', KEYS[1], 'delivery'))
return 1
"""

PAGE = 200
MOST_SUSPECTS = 5_000


class OpenMessages:
    """Finds open messages and puts them back on their queue.

    Args:
        redis: A connection of its own.
        letters: Where goes what was no message.
    """

    def __init__(self, redis: Redis, letters: dead_letters.DeadLetters) -> None:
        self._redis = redis
        self._letters = letters
        self._queued = redis.register_script(_QUEUED)
        self._taken = redis.register_script(_TAKEN)
        self._republish = redis.register_script(_REPUBLISH)
        self._excuse = redis.register_script(_EXCUSE)

    @classmethod
    def connect(cls, settings: Settings) -> "OpenMessages":
        """Open a connection on the Redis of the settings. Nothing is sent yet."""
        redis = connection(settings)
        letters = dead_letters.DeadLetters(
            redis, ttl_s=settings.dead_letter_ttl_s, most=settings.dead_letters_max
        )
        return cls(redis, letters)

    def claim(self, owner: str, ttl_s: float) -> bool:
        """Be, or stay, the one who looks for lost messages, for a while."""
        held = self._do("get", keys.RECONCILER)
        if held == owner.encode():
            return bool(self._do("pexpire", keys.RECONCILER, int(ttl_s * 1000)))
        return bool(self._do("set", keys.RECONCILER, owner, nx=True, px=int(ttl_s * 1000)))

    def suspects(self, unseen_for_s: float) -> dict[str, str]:
        """Give messages that were not known to be anywhere for a while, with their queues."""
        ids = [
            raw.decode()
            for raw in self._do(
                "zrangebyscore",
                keys.OPEN_INDEX,
                "-inf",
                time.time() - unseen_for_s,
                start=0,
                num=MOST_SUSPECTS,
            )
        ]
        pipeline = self._redis.pipeline(transaction=False)
        for message_id in ids:
            pipeline.hget(keys.open(message_id), "queue")
        queues = self._call(pipeline.execute) if ids else []
        # Without an entry there is nothing to publish; the index alone must not grow.
        self._forget([message_id for message_id, queue in zip(ids, queues, strict=True) if queue is None])
        return {
            message_id: queue.decode()
            for message_id, queue in zip(ids, queues, strict=True)
            if queue is not None
        }

    def queued(self, queue: str) -> Iterator[str]:
        """Give the ids of what lies on a queue."""
        start = 0
        # From the end that is served last: what is taken meanwhile is then found among the taken.
        while ids := self._call(lambda: self._queued(keys=[queue], args=[start, start + PAGE - 1])):  # noqa: B023  called at once
            yield from (raw.decode() for raw in ids)
            start += PAGE

    def taken(self, unacked_key: str) -> list[str]:
        """Give the ids of what was taken off a queue and is not acknowledged."""
        return [raw.decode() for raw in self._call(lambda: self._taken(keys=[unacked_key]))]

    def silent_runs(self, silent_for_s: float) -> list[str]:
        """Give the trainings that were taken, begun, and of which nothing was heard for a while."""
        taken = self.taken(keys.TRAIN_UNACKED)
        pipeline = self._redis.pipeline(transaction=False)
        for message_id in taken:
            pipeline.hget(keys.open(message_id), "alive_at")
        heard = self._call(pipeline.execute) if taken else []
        ends = time.time() - silent_for_s
        silent = {one for one, at in zip(taken, heard, strict=True) if at is not None and float(at) < ends}
        return sorted(silent - set(self.queued(names.TRAIN_QUEUE))) if silent else []

    def touch(self, message_ids: Iterable[str]) -> None:
        """Note that open messages are where they should be."""
        now = time.time()
        seen = dict.fromkeys(message_ids, now)
        if seen:
            self._do("zadd", keys.OPEN_INDEX, seen, xx=True)

    def due(self) -> list[str]:
        """Give the messages that were put off until now."""
        now = time.time()
        found = self._do("zrangebyscore", keys.LATER, "-inf", now, start=0, num=MOST_SUSPECTS)
        return [raw.decode() for raw in found]

    def republish(self, message_id: str, *, was_put_off: bool = False) -> bool:
        """Put a message back on its queue, to be taken next, unless it has an outcome by now.

        Args:
            message_id: The message.
            was_put_off: Do so only if it still is put off; it is not counted as lost then.
        """
        stored: Any = self._do("hmget", keys.open(message_id), "message", "queue")
        message, queue = stored
        raw = with_new_tag(message) if message is not None else b""
        done = self._call(
            lambda: self._republish(
                keys=[
                    keys.OPEN_INDEX,
                    keys.open(message_id),
                    keys.done(message_id),
                    (queue or b"").decode(),
                    keys.STATS,
                    keys.LATER,
                ],
                args=[message_id, time.time(), raw, "1" if was_put_off else ""],
            )
        )
        return bool(done)

    def enter(self, message_id: str, queue: str, raw: bytes) -> None:
        """Open an entry for a message that somebody published who keeps no ledger."""
        now = time.time()
        pipeline = self._redis.pipeline()
        entry = {"queue": queue, "message": raw, "at": now}
        for field, value in entry.items():
            pipeline.hsetnx(keys.open(message_id), field, value)  # type: ignore[arg-type]  # numbers are fine
        pipeline.persist(keys.open(message_id))
        pipeline.zadd(keys.OPEN_INDEX, {message_id: now}, nx=True)
        self._call(pipeline.execute)

    def excuse(self, message_ids: Iterable[str], node: str) -> None:
        """Let the starts that a worker has under way not count, because it is asked to end."""
        for message_id in message_ids:
            self._call(lambda: self._excuse(keys=[keys.open(message_id)], args=[f"{node}:"]))  # noqa: B023  called at once

    def disown(self, message_id: str, body: object) -> None:
        """Close the entry of something that is no sound message, unless it is another message's of the same id."""
        entered: Any = self._do("hget", keys.open(message_id), "message")
        if entered is not None and json.loads(entered).get("body") == body:
            self._do("delete", keys.open(message_id))
            self._forget([message_id])

    def bury(self, letter: dead_letters.DeadLetter) -> None:
        """Keep what was no message as a dead letter."""
        self._call(lambda: self._letters.bury(letter))

    def beat(self, node: str, polled_at: float, ttl_s: float) -> None:
        """Say when a worker last looked at its queues."""
        self._do("set", keys.pulse(node), polled_at, px=int(ttl_s * 1000))

    def close(self) -> None:
        """Give the connection back."""
        self._redis.close()

    def _forget(self, message_ids: list[str]) -> None:
        if message_ids:
            self._do("zrem", keys.OPEN_INDEX, *message_ids)

    def _do(self, command: str, *args: Any, **options: Any) -> Any:  # noqa: ANN401  a Redis command
        return self._call(lambda: getattr(self._redis, command)(*args, **options))

    @staticmethod
    def _call(action: Any) -> Any:  # noqa: ANN401  a Redis command
        try:
            return action()
        except RedisError as error:
            msg = f"Redis: {type(error).__name__}"
            raise LedgerUnavailableError(msg) from error


def with_new_tag(raw: bytes) -> bytes:
    """Give a message another delivery tag: two copies under one tag would acknowledge each other."""
    message = json.loads(raw)
    message["properties"]["delivery_tag"] = str(uuid.uuid4())
    return json.dumps(message).encode()
