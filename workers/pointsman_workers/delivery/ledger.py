"""What workers write into Redis: outcomes and counters, once each, and what a process says of itself.

With `open_messages` the only module of the workers that knows Redis.
"""

import datetime
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import orjson
from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from pointsman_shared import errors
from pointsman_shared.broker import config as broker_config
from pointsman_shared.settings import Settings
from pointsman_shared.store import dead_letters, keys
from pointsman_workers.shadow import backlog

# In each script the first write only removes: a Redis that is full refuses a script that begins by adding, and these
# are the ones that make room.

# Taking a message: whose effects were proven is answered again, whose batch was cancelled is not begun, and each
# start is counted, so that a message that kills whoever takes it is known by its count. The last start that is allowed
# decides whether it is poison; while others are cut off too, that says little, so it is put off until that is over.
_BEGIN = """
redis.call('ZREM', KEYS[4], '')
local stored = redis.call('GET', KEYS[1])
if redis.call('EXISTS', KEYS[2]) == 1 or (stored and string.find(string.sub(stored, 1, 40), '"SUCCESS"', 1, true)) then
  redis.call('DEL', KEYS[3])
  redis.call('ZREM', KEYS[4], ARGV[1])
  return {0, stored}
end
if redis.call('EXISTS', KEYS[5]) == 1 then return {-1, false} end
-- The client of Redis asks again when the answer is lost; that is not another start.
local last = redis.call('HGET', KEYS[3], 'delivery')
local again = last == ARGV[5]
local before = tonumber(redis.call('HGET', KEYS[3], 'starts') or '0')
if last and not again and redis.call('HGET', KEYS[3], 'excused') == last then
  before = redis.call('HINCRBY', KEYS[3], 'starts', -1)
  redis.call('HDEL', KEYS[3], 'excused')
elseif before > 0 and not again then
  local now, most = tonumber(ARGV[3]), tonumber(ARGV[6])
  if redis.call('HGET', KEYS[3], 'cut_off') ~= last then
    redis.call('HSET', KEYS[3], 'cut_off', last)
    redis.call('ZADD', KEYS[6], now, ARGV[1])
    redis.call('EXPIRE', KEYS[6], ARGV[7])
  end
  redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', now - ARGV[7])
  -- What is poison says nothing about how the others fare.
  if before >= most then redis.call('ZREM', KEYS[6], ARGV[1]) end
  if before == most - 1 and redis.call('HEXISTS', KEYS[3], 'message') == 1 then
    redis.call('HSETNX', KEYS[3], 'wary_since', now)
    local others = redis.call('ZCARD', KEYS[6]) - (redis.call('ZSCORE', KEYS[6], ARGV[1]) and 1 or 0)
    if others > 0 and now - redis.call('HGET', KEYS[3], 'wary_since') < tonumber(ARGV[8]) then
      redis.call('ZADD', KEYS[7], now + ARGV[9], ARGV[1])
      redis.call('ZADD', KEYS[4], now + ARGV[9], ARGV[1])
      redis.call('HINCRBY', KEYS[8], 'put_off', 1)
      return {-2, false}
    end
  end
end
local starts = redis.call('HINCRBY', KEYS[3], 'starts', again and 0 or 1)
redis.call('HSET', KEYS[3], 'worker', ARGV[2], 'started_at', ARGV[3], 'delivery', ARGV[5])
-- Nobody entered it (another broker): the count alone must not stay for ever.
if redis.call('HEXISTS', KEYS[3], 'message') == 0 then redis.call('EXPIRE', KEYS[3], ARGV[4]) end
return {starts, false}
"""

_PUT_OFF = -2

# Storing an outcome: the guard decides, and only the first one of a message has effects. It goes under Celery's own
# key and channel, in Celery's own format, so that `AsyncResult` reads it like any other result.
_RECORD = (
    backlog.KEEP
    + """
redis.call('DEL', KEYS[6])
redis.call('ZREM', KEYS[5], ARGV[4])
redis.call('ZREM', KEYS[7], ARGV[4])
local first = redis.call('SET', KEYS[2], '1', 'NX', 'EX', ARGV[2])
local stored = false
if first then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
  redis.call('PUBLISH', KEYS[1], ARGV[1])
  if #ARGV > 10 then
    for place = 11, #ARGV, 2 do redis.call('HINCRBY', KEYS[3], ARGV[place], ARGV[place + 1]) end
    redis.call('EXPIRE', KEYS[3], ARGV[2])
  end
  if ARGV[5] ~= '0' then
    local want = { texts = ARGV[5], places = ARGV[6], shed = ARGV[7], limit = tonumber(ARGV[8]), now = ARGV[9], request = ARGV[10] }
    try_to_keep(KEYS[4], KEYS[8], KEYS[9], KEYS[10], KEYS[11], ARGV[2], ARGV[4], want)
  end
else
  stored = redis.call('GET', KEYS[1])
end
redis.call('DEL', KEYS[4])
if ARGV[3] ~= '' then redis.call('PUBLISH', ARGV[3], ARGV[4]) end
return stored
"""
)
_NOTHING_TO_SHADOW = (0, "", "", 0, 0, "")

# Giving a message up: the failed outcome, the dead letter and the closing are one step. A failure that may pass
# leaves no guard behind, so that submitting the same message again tries again. Without an entry in the ledger
# (another broker, or Redis lost it) the letter has no payload and cannot be replayed.
_FAIL = (
    dead_letters.TRIM
    + """
redis.call('ZREM', KEYS[4], ARGV[1])
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('DEL', KEYS[3])
  if ARGV[4] ~= '' then redis.call('PUBLISH', ARGV[4], ARGV[1]) end
  return 0
end
local message = redis.call('HMGET', KEYS[3], 'message', 'queue', 'at', 'starts')
redis.call('DEL', KEYS[3])
if ARGV[5] == '1' then redis.call('SET', KEYS[2], '1', 'EX', ARGV[3]) end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
redis.call('PUBLISH', KEYS[1], ARGV[2])
if tonumber(ARGV[6]) > 0 then
  redis.call('HINCRBY', KEYS[7], ARGV[7], ARGV[6])
  redis.call('EXPIRE', KEYS[7], ARGV[3])
end
if #ARGV > 11 then
  for place = 12, #ARGV, 2 do redis.call('HSET', KEYS[5], ARGV[place], ARGV[place + 1]) end
  if message[1] then redis.call('HSET', KEYS[5], 'payload', message[1], 'queue', message[2], 'submitted_at', message[3]) end
  if message[4] and redis.call('HGET', KEYS[5], 'starts') == '0' then redis.call('HSET', KEYS[5], 'starts', message[4]) end
  redis.call('EXPIRE', KEYS[5], ARGV[9])
  redis.call('ZADD', KEYS[6], ARGV[8], ARGV[1])
  trim(KEYS[6], ARGV[11], tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10]))
end
if ARGV[4] ~= '' then redis.call('PUBLISH', ARGV[4], ARGV[1]) end
return 1
"""
)

# The last start waits until no other message was cut off for this long, looking this often, but not for ever.
CALM_S = 5
LOOK_AGAIN_S = 2
PATIENCE_S = 120
PROCESS_TTL_S = 60
RETRIES = 6
ANSWER_TIMEOUT_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What taking a message found.

    Attributes:
        starts: How often it was begun, this time included; 0 if it is not to be run.
        is_done: It has an outcome.
        is_cancelled: Its batch was cancelled.
        is_put_off: It is not to be run now, and will come back.
        stored: The outcome, if it succeeded and is still kept.
    """

    starts: int
    is_done: bool
    is_cancelled: bool
    is_put_off: bool
    stored: Any


class RedisLedger:
    """Outcomes exactly once, whatever is delivered again.

    Args:
        redis: The connection; it belongs to the process that made it.
        ttl_s: How long outcomes and counters stay.
        dead_letter_ttl_s: How long dead letters stay.
        dead_letters_max: How many of them stay.
    """

    def __init__(
        self, redis: Redis, ttl_s: int, *, dead_letter_ttl_s: int = 1_209_600, dead_letters_max: int = 10_000
    ) -> None:
        self._redis = redis
        self._ttl_s = ttl_s
        self._dead_letter_ttl_s = dead_letter_ttl_s
        self._dead_letters_max = dead_letters_max
        self._begin = redis.register_script(_BEGIN)
        self._record = redis.register_script(_RECORD)
        self._fail = redis.register_script(_FAIL)

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        """Open a ledger on the Redis of the settings. Nothing is sent yet."""
        return cls(
            connection(settings),
            settings.result_ttl_s,
            dead_letter_ttl_s=settings.dead_letter_ttl_s,
            dead_letters_max=settings.dead_letters_max,
        )

    def begin(
        self, message_id: str, *, worker: str, batch: str | None = None, max_starts: int = 0
    ) -> "Begun":
        """Count a start of a message, before anything of it is run.

        Args:
            message_id: The message; of any task.
            worker: Who takes it.
            batch: The batch it belongs to.
            max_starts: How many starts are allowed; the last of them may be put off. 0 puts none off.

        Raises:
            LedgerUnavailableError: Redis cannot be reached; the message must not be run.
        """
        try:
            starts, raw = self._begin(
                keys=[
                    keys.result(message_id),
                    keys.done(message_id),
                    keys.open(message_id),
                    keys.OPEN_INDEX,
                    keys.cancelled(batch or ""),
                    keys.CUT_OFF,
                    keys.LATER,
                    keys.STATS,
                ],
                args=[
                    message_id,
                    worker,
                    time.time(),
                    self._ttl_s,
                    uuid.uuid4().hex,
                    max_starts,
                    CALM_S,
                    PATIENCE_S,
                    LOOK_AGAIN_S,
                ],
            )
        except RedisError as error:
            raise _unavailable(error) from error
        return Begun(
            starts=max(starts, 0),
            is_done=starts == 0,
            is_cancelled=starts == -1,
            is_put_off=starts == _PUT_OFF,
            stored=_succeeded(raw),
        )

    def close(self, message_id: str) -> None:
        """Close a message whose outcome Celery itself has stored."""
        try:
            pipeline = self._redis.pipeline()
            pipeline.delete(keys.open(message_id), keys.dead(message_id))
            pipeline.zrem(keys.OPEN_INDEX, message_id)
            pipeline.zrem(keys.DEAD_INDEX, message_id)
            pipeline.execute()
        except RedisError as error:
            raise _unavailable(error) from error

    def fail(
        self,
        letter: dead_letters.DeadLetter,
        error: errors.PointsmanError,
        *,
        client_id: str | None = None,
        keep: bool = True,
    ) -> bool:
        """Give a message up: a failed outcome its caller understands, and a dead letter.

        Args:
            letter: What is known of it; the payload, the queue and the times come from the ledger's entry.
            error: What went wrong. Its text must not quote the input.
            client_id: Who waits.
            keep: Whether a dead letter is made; what was called off needs none.

        Returns:
            False if the message has an outcome already, which then counts.

        Raises:
            LedgerUnavailableError: Redis cannot be reached; nothing was stored.
        """
        permanent = not letter.retryable
        counted = letter.texts if letter.batch and permanent else 0
        counter = "cancelled" if isinstance(error, errors.CancelledError) else "failed"
        stored = {**letter.fields(), "counted": counted} if keep else {}
        try:
            done = self._fail(
                keys=[
                    keys.result(letter.id),
                    keys.done(letter.id),
                    keys.open(letter.id),
                    keys.OPEN_INDEX,
                    keys.dead(letter.id),
                    keys.DEAD_INDEX,
                    keys.batch(letter.batch),
                ],
                args=[
                    letter.id,
                    _as_failure(letter, error, keep=keep),
                    self._ttl_s,
                    keys.reply_channel(client_id) if client_id else "",
                    "1" if permanent else "",
                    counted,
                    counter,
                    letter.died_at,
                    self._dead_letter_ttl_s,
                    self._dead_letters_max,
                    keys.dead(""),
                    *(part for pair in stored.items() for part in pair),
                ],
            )
        except RedisError as broken:
            raise _unavailable(broken) from broken
        return bool(done)

    def stored(self, message_id: str) -> dict[str, Any] | None:
        """Give the outcome of a message that was done before, or None.

        Raises:
            LedgerUnavailableError: Redis cannot be reached.
        """
        try:
            raw = self._redis.get(keys.result(message_id))
        except RedisError as error:
            raise _unavailable(error) from error
        outcome: dict[str, Any] | None = _succeeded(raw)
        return outcome

    def record(
        self,
        reply: dict[str, Any],
        *,
        batch: str | None = None,
        counters: Mapping[str, int] | None = None,
        client_id: str | None = None,
        shadow: backlog.Wish | None = None,
    ) -> dict[str, Any]:
        """Store a message's outcome and count it, once; tell the client that waits.

        Args:
            reply: A `jobs.ClassifyReply` as a dict.
            batch: The batch to count towards.
            counters: What to add to the batch's counters.
            client_id: Who waits.
            shadow: What of it is to be shadowed. Nothing that goes wrong with that touches the outcome.

        Returns:
            The outcome that counts: this one, or the one of an earlier delivery.

        Raises:
            LedgerUnavailableError: Redis cannot be reached or refuses to write; nothing was stored.
        """
        outcome: dict[str, Any] = self.finish(
            reply["message_id"], reply, batch=batch, counters=counters, client_id=client_id, shadow=shadow
        )
        return outcome

    def finish(
        self,
        message_id: str,
        reply: Any,  # noqa: ANN401  any JSON value
        *,
        batch: str | None = None,
        counters: Mapping[str, int] | None = None,
        client_id: str | None = None,
        shadow: backlog.Wish | None = None,
    ) -> Any:  # noqa: ANN401  any JSON value
        """Store the outcome of a message of any task, once, and close it; see `record`."""
        additions = [part for pair in (counters or {}).items() for part in pair] if batch else []
        wish = shadow.arguments() if shadow else _NOTHING_TO_SHADOW
        channel = keys.reply_channel(client_id) if client_id else ""
        try:
            earlier = self._record(
                keys=[
                    keys.result(message_id),
                    keys.done(message_id),
                    keys.batch(batch or ""),
                    keys.open(message_id),
                    keys.OPEN_INDEX,
                    keys.dead(message_id),
                    keys.DEAD_INDEX,
                    keys.shadow_kept(message_id),
                    keys.SHADOW_WAITING,
                    keys.SHADOW_BYTES,
                    keys.STATS,
                ],
                args=[_as_result(message_id, reply), self._ttl_s, channel, message_id, *wish, *additions],
            )
        except RedisError as error:
            raise _unavailable(error) from error
        return reply if earlier is None else _succeeded(earlier) or reply

    def notify(self, client_id: str, message_id: str) -> None:
        """Tell a client that a message of its own is done; its slow poll covers what is not heard."""
        try:
            self._redis.publish(keys.reply_channel(client_id), message_id)
        except RedisError as error:
            raise _unavailable(error) from error

    def describe_process(self, host: str, pid: int, fields: Mapping[str, str]) -> None:
        """Say what a worker process serves, for `doctor`; forgotten when it stops saying so."""
        key = keys.process(host, pid)
        try:
            pipeline = self._redis.pipeline()
            pipeline.hset(key, items=[part for pair in fields.items() for part in pair])
            pipeline.expire(key, PROCESS_TTL_S)
            pipeline.execute()
        except RedisError as error:
            raise _unavailable(error) from error

    def forget_process(self, host: str, pid: int) -> None:
        """Take back what a process said of itself, when it stops."""
        try:
            self._redis.delete(keys.process(host, pid))
        except RedisError as error:
            raise _unavailable(error) from error

    def get(self, key: str) -> bytes | None:
        """Read a plain value: the flag configuration's port."""
        value = self._redis.get(key)
        return value.encode() if isinstance(value, str) else value

    def set(self, key: str, value: bytes) -> None:
        """Write a plain value: the flag configuration's port."""
        self._redis.set(key, value)

    def set_first(self, key: str, *, ttl_s: int) -> bool:
        """Create a key; return whether no process has created it yet."""
        try:
            return bool(self._redis.set(key, "", nx=True, ex=ttl_s))
        except RedisError as error:
            raise _unavailable(error) from error


def connection(settings: Settings) -> Redis:
    """Open a connection on the Redis of the settings. Nothing is sent yet."""
    # An outage of a few seconds is sat out here: what was computed is not computed again.
    retry = Retry(ExponentialBackoff(cap=1.0, base=0.05), retries=RETRIES)
    return Redis.from_url(
        settings.redis_url.get_secret_value(),
        retry=retry,
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
        **{**broker_config.SOCKET_OPTIONS, "socket_timeout": ANSWER_TIMEOUT_S},
    )


class LedgerUnavailableError(errors.RetryableError):
    """Redis cannot be reached, so that an effect could not be proven; the message goes back to the queue."""


def _unavailable(error: RedisError) -> LedgerUnavailableError:
    return LedgerUnavailableError(f"Redis: {error}")


def _succeeded(raw: bytes | str | None) -> Any:  # noqa: ANN401  any JSON value
    if raw is None:
        return None
    stored: Mapping[str, Any] = orjson.loads(raw)
    return stored["result"] if stored["status"] == "SUCCESS" else None


def _as_result(message_id: str, reply: object) -> bytes:
    return orjson.dumps(
        {
            "status": "SUCCESS",
            "result": reply,
            "traceback": None,
            "children": [],
            "date_done": datetime.datetime.now(datetime.UTC).isoformat(),
            "task_id": message_id,
        }
    )


def _as_failure(letter: dead_letters.DeadLetter, error: errors.PointsmanError, *, keep: bool) -> bytes:
    """Say what went wrong as Celery says it, and beside it whether to try again and where the message is."""
    return orjson.dumps(
        {
            "status": "FAILURE",
            "result": {
                "exc_type": type(error).__name__,
                "exc_module": errors.__name__,
                "exc_message": [str(error)],
                "retryable": letter.retryable,
                "dead_letter": letter.id if keep else None,
            },
            "traceback": None,
            "children": [],
            "date_done": datetime.datetime.now(datetime.UTC).isoformat(),
            "task_id": letter.id,
        }
    )
