"""Served messages that wait to be shadowed: the queue of shadow work, as Redis holds it.

What is put here is put by the transaction that stores the outcome, and costs it next to nothing: the ledger's entry,
which holds the request, is renamed instead of deleted; the outcome is where it was stored. What is taken is held for
a while by who took it; the transaction that counts it takes it out, and only the holder's does. So each text is
counted once, and nothing has to be remembered of those that were.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import orjson
from redis import Redis
from redis.exceptions import RedisError

from pointsman_shared import errors, names
from pointsman_shared.broker import config as broker_config
from pointsman_shared.settings import Settings
from pointsman_shared.store import keys

# What an entry takes beside its texts, about.
ENTRY_BYTES: Final = 400
MIB: Final = 1024 * 1024
MAX_ENTRIES: Final = 100

# For the script that stores an outcome, at its end. It runs protected: whatever is wrong here, the outcome is stored.
KEEP: Final = f"""
local function keep(entry, kept, waiting, total, stats, ttl, id, want)
  local bytes, shed = {ENTRY_BYTES}, want.shed
  local used = tonumber(redis.call('GET', total) or 0)
  -- What was shed is only noted; for notes alone there is some more room.
  if used > want.limit * 1.25 + 1048576 then
    redis.call('HINCRBY', stats, '{names.SHADOW_DROPPED}', 1)
    return
  end
  if shed == '' and used >= want.limit then shed = 'queue_full' end
  if shed == '' and want.request ~= '' then
    redis.call('HSET', kept, 'request', want.request)
    bytes = bytes + #want.request
  elseif shed == '' then
    local size = redis.call('HSTRLEN', entry, 'message')
    if size > 0 then
      redis.call('RENAME', entry, kept)
      bytes = bytes + size
    else
      shed = 'request_lost'
    end
  end
  redis.call('HSET', kept, 'texts', want.texts, 'places', want.places, 'shed', shed, 'served_at', want.now, 'bytes', bytes)
  redis.call('EXPIRE', kept, ttl)
  redis.call('ZADD', waiting, want.now, id)
  redis.call('INCRBY', total, bytes)
end
local function try_to_keep(entry, kept, waiting, total, stats, ttl, id, want)
  if pcall(keep, entry, kept, waiting, total, stats, ttl, id, want) then return end
  redis.pcall('DEL', kept)
  redis.pcall('HINCRBY', stats, '{names.SHADOW_DROPPED}', 1)
end
"""

# For the script that counts: says whether all messages are still the holder's, then lets them go.
SETTLE: Final = """
local function settle(waiting, total, prefix, holder, first, last)
  for place = first, last, 2 do
    if redis.call('HGET', prefix .. ARGV[place], 'holder') ~= holder then return false end
  end
  for place = first, last, 2 do
    local id, done = ARGV[place], ARGV[place + 1]
    local kept = prefix .. id
    redis.call('HDEL', kept, 'holder', 'attempts', 'doing')
    if done == '' then
      local bytes = tonumber(redis.call('HGET', kept, 'bytes') or 0)
      redis.call('DEL', kept)
      redis.call('ZREM', waiting, id)
      if redis.call('EXISTS', waiting) == 0 then redis.call('DEL', total) else redis.call('DECRBY', total, bytes) end
    else
      redis.call('HSET', kept, 'done', done)
      redis.call('ZADD', waiting, redis.call('HGET', kept, 'served_at'), id)
    end
  end
  return true
end
"""

# ARGV: now, until when it is held, the holder, most texts, most messages, two prefixes, whether nobody else may be at work.
_TAKE = f"""
for place = 4, #KEYS - 1 do
  if redis.call('LLEN', KEYS[place]) > 0 then return {{}} end
end
if ARGV[8] == '1' and redis.call('HLEN', KEYS[#KEYS]) > 0 then return {{}} end
local found, texts, most = {{}}, 0, tonumber(ARGV[4])
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[5])) do
  local kept = ARGV[6] .. id
  local known = redis.call('HMGET', kept, 'texts', 'done', 'attempts', 'doing', 'served_at', 'places', 'shed', 'message', 'request')
  if not known[1] then
    redis.call('ZREM', KEYS[1], id)
    redis.call('HINCRBY', KEYS[3], '{names.SHADOW_DROPPED}', 1)
    if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('DEL', KEYS[2]) end
  else
    local left = tonumber(known[1]) - tonumber(known[2] or 0)
    if texts > 0 and texts + left > most then break end
    texts = texts + left
    redis.call('HSET', kept, 'holder', ARGV[3])
    redis.call('HINCRBY', kept, 'attempts', 1)
    -- In the same order for whoever has to take them again.
    redis.call('ZADD', KEYS[1], tonumber(ARGV[2]) + #found / 1000, id)
    table.insert(known, 1, id)
    table.insert(known, redis.call('GET', ARGV[7] .. id))
    table.insert(found, known)
    if texts >= most then break end
  end
end
return found
"""

_NOTE = "if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'doing', ARGV[1]) end"


class StoreUnavailableError(errors.RetryableError):
    """Redis cannot be reached, so that nothing could be counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What of a served message is to be shadowed.

    Attributes:
        texts: How many texts.
        places: Their places in the message; None for all of them.
        shed: Why they are only to be counted, or None.
        request: The request, where the ledger has none because the queues are with another broker.
        limit_bytes: How much may wait.
    """

    texts: int
    places: Sequence[int] | None
    shed: str | None
    request: bytes
    limit_bytes: int

    def arguments(self) -> list[Any]:
        """Give the script's arguments: texts, places, shed, limit, now, request."""
        places = b"" if self.places is None else orjson.dumps(list(self.places))
        return [self.texts, places, self.shed or "", self.limit_bytes, time.time(), self.request]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A served message whose texts are to be compared, or at least counted.

    Attributes:
        message_id: Its id.
        done: How many of its texts to shadow are done.
        attempts: How often this was begun since the last of them was done, this time included.
        doing: Which version had the texts when it was last begun, if that did not end.
        served_at: When it was served, in seconds since the epoch.
        places: The places of its texts to shadow; None for all.
        shed: Why they are only to be counted, or None.
        message: The message as it lay in the queue, or None.
        request: The request alone, or None.
        outcome: The stored outcome, or None.
    """

    message_id: str
    done: int
    attempts: int
    doing: str | None
    served_at: float
    places: list[int] | None
    shed: str | None
    message: bytes | None
    request: bytes | None
    outcome: bytes | None

    @classmethod
    def of(cls, found: Sequence[bytes | None]) -> Self:
        """Read what the script found."""
        message_id, _, done, attempts, doing, served_at, places, shed, message, request, outcome = found
        return cls(
            message_id=(message_id or b"").decode(),
            done=int(done or 0),
            attempts=int(attempts or 0) + 1,
            doing=doing.decode() if doing else None,
            served_at=float(served_at or 0),
            places=orjson.loads(places) if places else None,
            shed=shed.decode() if shed else None,
            message=message,
            request=request,
            outcome=outcome,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How things stand.

    Attributes:
        ready: How many messages wait to be shadowed and are held by nobody.
        calls: How many calls to do shadow work lie in its queue.
        users: How many messages lie in the serving queues; None if they are at another broker.
    """

    ready: int
    calls: int
    users: int | None


class Waiting:
    """The queue of shadow work.

    Args:
        redis: The connection.
        settings: Sizes and times.
    """

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._take = redis.register_script(_TAKE)
        self._note = redis.register_script(_NOTE)
        self._queues_are_here = settings.broker_url is None

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        """Open it. Nothing is sent yet."""
        return cls(
            Redis.from_url(settings.redis_url.get_secret_value(), **broker_config.SOCKET_OPTIONS), settings
        )

    def look(self) -> Look:
        """Say how things stand.

        Raises:
            StoreUnavailableError: Redis is away.
        """
        queues = (names.SHADOW_QUEUE, *names.SERVING_QUEUES) if self._queues_are_here else ()
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.zcount(keys.SHADOW_WAITING, "-inf", time.time())
        for queue in queues:
            pipeline.llen(queue)
        ready, *lengths = _do(pipeline.execute)
        return Look(ready=ready, calls=sum(lengths[:1]), users=sum(lengths[1:]) if lengths else None)

    def take(
        self, holder: str, *, most_texts: int, hold_s: float, yields: bool, alone: bool = False
    ) -> list[Taken]:
        """Take the messages that have waited longest, at least one if any is there.

        Args:
            holder: Who holds them; another name each time.
            most_texts: How many texts are wanted; a single message may have more.
            hold_s: After this long others may take them.
            yields: Take nothing while messages lie in the serving queues.
            alone: Take nothing while any message is being served, either.

        Raises:
            StoreUnavailableError: Redis is away.
        """
        now = time.time()
        yields = yields and self._queues_are_here
        touched = [keys.SHADOW_WAITING, keys.SHADOW_BYTES, keys.STATS]
        queues = names.SERVING_QUEUES if yields else ()
        prefixes = [keys.shadow_kept(""), keys.result("")]
        args: list[Any] = [
            now,
            now + hold_s,
            holder,
            most_texts,
            MAX_ENTRIES,
            *prefixes,
            int(yields and alone),
        ]
        found = _do(lambda: self._take(keys=[*touched, *queues, keys.UNACKED], args=args))
        return [Taken.of(one) for one in found]

    def note(self, message_id: str, doing: str) -> None:
        """Note which version gets a message's texts now: if the process ends over it, the next one knows.

        Raises:
            StoreUnavailableError: Redis is away.
        """
        _do(lambda: self._note(keys=[keys.shadow_kept(message_id)], args=[doing]))

    def drop(self, messages: int) -> None:
        """Count messages of which nothing can be said.

        Raises:
            StoreUnavailableError: Redis is away.
        """
        _do(lambda: self._redis.hincrby(keys.STATS, names.SHADOW_DROPPED, messages))


def _do(action: Any) -> Any:  # noqa: ANN401  a Redis command
    try:
        return action()
    except RedisError as error:
        msg = f"Redis: {error}"
        raise StoreUnavailableError(msg) from error
