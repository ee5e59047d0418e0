"""What workers write into Redis: outcomes and counters, once each, and what a process says of itself.

The only module of the workers that knows Redis.
"""

import datetime
from collections.abc import Mapping
from typing import Any, Self

import orjson
from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from pointsman_shared import broker, errors, names
from pointsman_shared.settings import Settings

# One transaction: the guard decides, and only the first delivery of a message has effects. The outcome goes under
# Celery's own key and channel, in Celery's own format, so that `AsyncResult` reads it like any other result.
_RECORD = """
local first = redis.call('SET', KEYS[2], '1', 'NX', 'EX', ARGV[2])
local stored = false
if first then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
  redis.call('PUBLISH', KEYS[1], ARGV[1])
  if #ARGV > 4 then
    for place = 5, #ARGV, 2 do redis.call('HINCRBY', KEYS[3], ARGV[place], ARGV[place + 1]) end
    redis.call('EXPIRE', KEYS[3], ARGV[2])
  end
else
  stored = redis.call('GET', KEYS[1])
end
if ARGV[3] ~= '' then redis.call('PUBLISH', ARGV[3], ARGV[4]) end
return stored
"""

PROCESS_TTL_S = 60


class RedisLedger:
    """Outcomes exactly once, whatever is delivered again.

    Args:
        redis: The connection; it belongs to the process that made it.
        ttl_s: How long outcomes and counters stay.
    """

    def __init__(self, redis: Redis, ttl_s: int) -> None:
        self._redis = redis
        self._ttl_s = ttl_s
        self._record = redis.register_script(_RECORD)

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        """Open a ledger on the Redis of the settings. Nothing is sent yet."""
        retry = Retry(ExponentialBackoff(cap=1.0, base=0.05), retries=3)
        url = settings.redis_url.get_secret_value()
        redis = Redis.from_url(
            url,
            retry=retry,
            retry_on_error=[RedisConnectionError, RedisTimeoutError],
            **broker.SOCKET_OPTIONS,
        )
        return cls(redis, settings.result_ttl_s)

    def stored(self, message_id: str) -> dict[str, Any] | None:
        """Give the outcome of a message that was done before, or None.

        Raises:
            LedgerUnavailableError: Redis cannot be reached.
        """
        try:
            raw = self._redis.get(names.result_key(message_id))
        except RedisError as error:
            raise _unavailable(error) from error
        return _succeeded(raw)

    def record(
        self,
        reply: dict[str, Any],
        *,
        batch: str | None = None,
        counters: Mapping[str, int] | None = None,
        client_id: str | None = None,
    ) -> dict[str, Any]:
        """Store a message's outcome and count it, once; tell the client that waits.

        Args:
            reply: A `jobs.ClassifyReply` as a dict.
            batch: The batch to count towards.
            counters: What to add to the batch's counters.
            client_id: Who waits.

        Returns:
            The outcome that counts: this one, or the one of an earlier delivery.

        Raises:
            LedgerUnavailableError: Redis cannot be reached or refuses to write; nothing was stored.
        """
        message_id = reply["message_id"]
        additions = [part for pair in (counters or {}).items() for part in pair] if batch else []
        channel = names.reply_channel(client_id) if client_id else ""
        try:
            earlier = self._record(
                keys=[names.result_key(message_id), names.done_key(message_id), names.batch_key(batch or "")],
                args=[_as_result(message_id, reply), self._ttl_s, channel, message_id, *additions],
            )
        except RedisError as error:
            raise _unavailable(error) from error
        return _succeeded(earlier) or reply

    def notify(self, client_id: str, message_id: str) -> None:
        """Tell a client that a message of its own is done; its slow poll covers what is not heard."""
        try:
            self._redis.publish(names.reply_channel(client_id), message_id)
        except RedisError as error:
            raise _unavailable(error) from error

    def describe_process(self, host: str, pid: int, fields: Mapping[str, str]) -> None:
        """Say what a worker process serves, for `doctor`; forgotten when it stops saying so."""
        key = names.process_key(host, pid)
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
            self._redis.delete(names.process_key(host, pid))
        except RedisError as error:
            raise _unavailable(error) from error

    def get(self, key: str) -> bytes | None:
        """Read a plain value: the flag configuration's port."""
        value = self._redis.get(key)
        return value.encode() if isinstance(value, str) else value

    def set(self, key: str, value: bytes) -> None:
        """Write a plain value: the flag configuration's port."""
        self._redis.set(key, value)


class LedgerUnavailableError(errors.RetryableError):
    """Redis cannot be reached, so that an effect could not be proven; the message goes back to the queue."""


def _unavailable(error: RedisError) -> LedgerUnavailableError:
    return LedgerUnavailableError(f"Redis: {error}")


def _succeeded(raw: bytes | str | None) -> dict[str, Any] | None:
    if raw is None:
        return None
    stored: dict[str, Any] = orjson.loads(raw)
    return stored["result"] if stored["status"] == "SUCCESS" else None


def _as_result(message_id: str, reply: Mapping[str, Any]) -> bytes:
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
