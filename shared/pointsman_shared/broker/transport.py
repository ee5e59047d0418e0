"""Kombu's Redis transport, that enters each message of ours into the ledger in the step that publishes it.

Whoever publishes through an application made by `broker` is covered: clients, beat, workers that pass work on. The
message is sent once; one script puts it on the queue and beside it what is needed to publish it again. The entry is
closed by the transaction that stores the outcome, and the reconciler publishes again what was lost in between.
"""

import time
from typing import Any, Final

from kombu.transport import redis as kombu_redis
from kombu.utils.json import dumps
from redis.commands.core import Script

from pointsman_shared import errors, names
from pointsman_shared.store import keys
from pointsman_shared.wire import jobs

# In a message's properties: it has an entry in the ledger.
LEDGERED: Final = "pointsman_ledger"

# A message whose effects were proven already is only answered again, so it is not opened. A failure that left no such
# proof is forgotten: whoever submits the message again waits for what comes of it now.
_PUBLISH = """
if redis.call('EXISTS', KEYS[4]) == 0 then
  if string.find(redis.call('GETRANGE', KEYS[5], 0, 40), '"FAILURE"', 1, true) then redis.call('DEL', KEYS[5]) end
  redis.call('HSET', KEYS[2], 'queue', ARGV[1], 'message', ARGV[2], 'at', ARGV[4])
  redis.call('ZADD', KEYS[3], ARGV[4], ARGV[3])
end
redis.call('LPUSH', KEYS[1], ARGV[2])
"""


def for_url(broker_url: str) -> str | None:
    """Give the transport for a broker's URL, as Celery wants it named; None leaves it to the URL."""
    if broker_url.startswith(("redis://", "rediss://")):
        return f"{__name__}:Transport"
    return None


class Ledgering:
    """A channel that opens a ledger entry for each message of ours that it publishes."""

    _publish: Script | None = None

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:  # noqa: ANN401  kombu's signature
        message_id = ledgered_id(message)
        if message_id is None or "_publish_batch" in kwargs:
            super()._put(queue, message, **kwargs)  # type: ignore[misc]  # the channel this is mixed into
            return
        message["properties"][LEDGERED] = True
        raw = dumps(message)
        if len(raw) > jobs.MAX_MESSAGE_BYTES:
            # Workers would put it aside, and whoever waits for its outcome would wait for ever.
            msg = f"the message has {len(raw)} bytes; at most {jobs.MAX_MESSAGE_BYTES} are taken: send several, or less of each user"
            raise errors.InvalidMessageError(msg)
        key = self._q_for_pri(queue, self._get_message_priority(message, reverse=False))  # type: ignore[attr-defined]
        with self.conn_or_acquire() as redis:  # type: ignore[attr-defined]  # the channel's
            if self._publish is None:
                self._publish = Script(redis, _PUBLISH)
            self._publish(
                keys=[
                    key,
                    keys.open(message_id),
                    keys.OPEN_INDEX,
                    keys.done(message_id),
                    keys.result(message_id),
                ],
                args=[key, raw, message_id, time.time()],
                client=redis,
            )


def ledgered_id(message: dict[str, Any]) -> str | None:
    """Give the id of a message that the ledger is to keep open; None for any other."""
    headers = message.get("headers") or {}
    task, message_id = headers.get("task"), headers.get("id")
    # A call to do shadow work carries none: what it is about waits in the ledger's Redis, and is called for again.
    is_ours = isinstance(task, str) and task.startswith(names.TASK_PREFIX) and task != names.SHADOW_TASK
    return message_id if is_ours and isinstance(message_id, str) else None


class Channel(Ledgering, kombu_redis.Channel):
    """The channel on one Redis server."""


class Transport(kombu_redis.Transport):
    """The transport on one Redis server."""

    Channel = Channel
