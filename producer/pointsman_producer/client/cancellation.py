"""Calling jobs off: a message that has no outcome yet gets one that says so, and what is left of it is dropped."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from pointsman_shared import errors
from pointsman_shared.store import keys
from pointsman_shared.store.connection import explained

# The guard that makes outcomes happen once decides here as well: either the work was done, or it was called off.
_CANCEL = """
redis.call('ZREM', KEYS[4], ARGV[1])
local stored = redis.call('GETRANGE', KEYS[1], 0, 40)
if string.find(stored, '"SUCCESS"', 1, true) or not redis.call('SET', KEYS[2], '1', 'NX', 'EX', ARGV[3]) then return 0 end
redis.call('DEL', KEYS[3])
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
redis.call('PUBLISH', KEYS[1], ARGV[2])
if tonumber(ARGV[4]) > 0 then
  redis.call('HINCRBY', KEYS[5], 'cancelled', ARGV[4])
  redis.call('EXPIRE', KEYS[5], ARGV[3])
end
if ARGV[5] ~= '' then redis.call('PUBLISH', ARGV[5], ARGV[1]) end
return 1
"""


class Canceller:
    """Calls messages and batches off.

    Args:
        redis: A connection that gives bytes.
        ttl_s: How long outcomes stay.
    """

    def __init__(self, redis: Redis, ttl_s: int) -> None:
        self._redis = redis
        self._ttl_s = ttl_s
        self._cancel = redis.register_script(_CANCEL)

    def cancel(self, message_id: str) -> bool:
        """Call a message off.

        Returns:
            False if it has an outcome already. What a worker does of it at this moment has no effect any more.

        Raises:
            BrokerUnavailableError: Redis does not answer.
        """
        try:
            raw: Any = self._redis.hget(keys.open(message_id), "message")
            batch, texts, client_id = _whose(raw)
            done = self._cancel(
                keys=[
                    keys.result(message_id),
                    keys.done(message_id),
                    keys.open(message_id),
                    keys.OPEN_INDEX,
                    keys.batch(batch),
                ],
                args=[
                    message_id,
                    _as_cancelled(message_id),
                    self._ttl_s,
                    texts if batch else 0,
                    keys.reply_channel(client_id) if client_id else "",
                ],
            )
        except RedisError as error:
            raise explained(error) from error
        return bool(done)

    def cancel_batch(self, batch: str) -> None:
        """Call off what is not begun of a batch. In one step, however large it is: workers drop its messages.

        Raises:
            BrokerUnavailableError: Redis does not answer.
        """
        try:
            self._redis.set(keys.cancelled(batch), "1", ex=self._ttl_s)
        except RedisError as error:
            raise explained(error) from error


def _whose(raw: bytes | None) -> tuple[str, int, str]:
    """Give a message's batch, the number of its texts, and who waits for it."""
    if raw is None:
        return "", 0, ""
    message = json.loads(raw)
    arguments = json.loads(base64.b64decode(message["body"]))[0]
    payload = arguments[0] if arguments and isinstance(arguments[0], dict) else {}
    return (
        payload.get("batch") or "",
        len(payload.get("texts") or ()),
        message["properties"].get("reply_to") or "",
    )


def _as_cancelled(message_id: str) -> str:
    return json.dumps(
        {
            "status": "FAILURE",
            "result": {
                "exc_type": errors.CancelledError.__name__,
                "exc_module": errors.__name__,
                "exc_message": ["it was called off before it was done"],
                "retryable": False,
                "dead_letter": None,
            },
            "traceback": None,
            "children": [],
            "date_done": datetime.now(UTC).isoformat(),
            "task_id": message_id,
        }
    )
