"""Kombu's Redis transport, extended: publishing a message of ours opens its ledger entry in the same step.

This covers every publisher whose application `broker.config` made: clients, beat, workers that pass work on. One script
puts the message on its queue and keeps a copy for publishing it again. The transaction that stores the outcome closes
the entry; the reconciler publishes lost messages again.
"""

import contextlib
from contextlib import AbstractContextManager
from typing import Any, Final

from kombu.transport import redis as kombu_redis
from kombu.utils.json import dumps

from pointsman_shared import errors, names
from pointsman_shared.store import scripts
from pointsman_shared.store.keys import Keys
from pointsman_shared.wire import jobs

# Stands in a message's properties: the message has an entry in the ledger.
LEDGERED: Final = "pointsman_ledger"

PUBLISH: Final = scripts.load(__file__, "publish")


class Channel(kombu_redis.Channel):
    """A channel that opens a ledger entry for each message of ours that it publishes.

    Its tables of bindings begin with the namespace, a transport option. Kombu's own option for that, `global_keyprefix`, would also
    rename the queues, to which other Celery clients send.
    """

    from_transport_options = (*kombu_redis.Channel.from_transport_options, "namespace")
    namespace: str
    _one_client: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  kombu's signature
        super().__init__(*args, **kwargs)
        self.keys = Keys(self.namespace)
        for table in ("queue", "binding_deadlines", "binding_permanent"):
            setattr(self, f"keyprefix_{table}", self.keys.prefix + getattr(self, f"keyprefix_{table}"))

    def conn_or_acquire(self, client: Any = None) -> AbstractContextManager[Any]:  # type: ignore[override]  # noqa: ANN401  kombu's is a generator
        """Return a client; kombu makes one for each command, which takes longer than the command."""
        if client is None:
            client, pool = self._one_client, self.pool
            if client is None or client.connection_pool is not pool:
                client = self._one_client = self._create_client()  # type: ignore[attr-defined]
        return contextlib.nullcontext(client)

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:  # noqa: ANN401  kombu's signature
        message_id = ledgered_id(message)
        # Another deployment's worker enters the message in its own ledger when it takes it.
        if message_id is None or not self.keys.is_queue(queue) or "_publish_batch" in kwargs:
            super()._put(queue, message, **kwargs)
            return
        message["properties"][LEDGERED] = True
        raw = dumps(message)
        if len(raw) > jobs.MAX_MESSAGE_BYTES:
            # A worker would refuse it, and the client would wait in vain.
            msg = (
                f"the message has {len(raw)} bytes; at most {jobs.MAX_MESSAGE_BYTES} are taken: send several messages, "
                "or fewer attributes of each user"
            )
            raise errors.InvalidMessageError(msg)
        with self.conn_or_acquire() as redis:
            done = PUBLISH(
                redis,
                queue=self._q_for_pri(queue, self._get_message_priority(message, reverse=False)),  # type: ignore[attr-defined]  # kombu puts it there
                entry=self.keys.open(message_id),
                index=self.keys.open_index,
                guard=self.keys.done(message_id),
                result=self.keys.result(message_id),
                message=raw,
                id=message_id,
                digest=message["headers"].get(jobs.DIGEST_HEADER) or "",
            )
        if not done:
            msg = f"message id {message_id} is that of another request: choose another id"
            raise errors.ConflictError(msg)


def ledgered_id(message: dict[str, Any]) -> str | None:
    """Return the id of a message that the ledger keeps open; None for any other message."""
    headers = message.get("headers") or {}
    task, message_id = headers.get("task"), headers.get("id")
    # A request for shadow work needs no entry: its work waits in Redis, and the worker asks again.
    is_ours = isinstance(task, str) and task.startswith(names.TASK_PREFIX) and task != names.SHADOW_TASK
    return message_id if is_ours and isinstance(message_id, str) else None


class Transport(kombu_redis.Transport):
    """The transport on one Redis server."""

    Channel = Channel
