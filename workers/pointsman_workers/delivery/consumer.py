"""Celery's consumer, extended: it opens missing ledger entries, shows no texts, and survives any message."""

import contextlib
import functools
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from celery.utils.time import maybe_iso8601, maybe_make_aware
from celery.worker import state
from celery.worker.consumer import Consumer
from kombu.utils.json import dumps

from pointsman_shared import errors, names
from pointsman_shared.broker import transport
from pointsman_shared.store.connection import REFUSED
from pointsman_workers.delivery import channel, payloads
from pointsman_workers.delivery.task import WorkerApp
from pointsman_workers.delivery.validation import MalformedMessageError

logger = logging.getLogger(__name__)

# The longest pause between two attempts to connect.
RECONNECT_S: Final = 1.0
# A message may be sent at most so long before it is to be done; it is taken so long before that time.
MAX_AHEAD_S: Final = 30 * 86_400
HELD_S: Final = 5.0
# How many interactive messages this process has taken.
interactive = 0


def heard_at(busy_s: float) -> Callable[[], float]:
    """Return a function that says when the queues were last heard from.

    A worker that holds messages may ask for no more; their time limit, `busy_s`, bounds for how long.
    """
    started_at = time.time()
    return lambda: max(channel.polled_at, started_at) + (busy_s if state.reserved_requests else 0)


class WatchfulConsumer(Consumer):
    """A consumer that logs nothing of a message it refuses."""

    app: WorkerApp

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  Celery's signature
        # No worker needs to know of the others, and gossip fills the log with errors when Redis comes back.
        options["worker_options"] = {**(options.get("worker_options") or {}), "without_gossip": True}
        super().__init__(*args, **options)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:  # noqa: ANN401  Celery's signature
        """Return the function that takes each message."""
        handle = super().create_task_handler(*args, **kwargs)
        interactive_queue = self.app.keys.queue(names.INTERACTIVE_QUEUE)
        lost_redis = (*self.connection_errors, *self.channel_errors)  # type: ignore[attr-defined]  # celery's

        def take(message: Any) -> None:  # noqa: ANN401  kombu's message
            global interactive  # noqa: PLW0603  a process has one consumer
            try:
                self._prepare(message)
                if self._postpone(message):
                    return
                handle(message)
                interactive += message.delivery_info.get("routing_key") == interactive_queue
            except lost_redis:
                raise
            except errors.RetryableError as away:
                raise ConnectionResetError(str(away)) from away
            except Exception as error:  # no message may end the consumer
                self._refuse(message, error)

        return take

    def ensure_connected(self, conn: Any) -> Any:  # noqa: ANN401  kombu's connection
        """Connect, with short pauses: Celery's own grow to half a minute, long after Redis is back."""
        conn.ensure_connection = functools.partial(
            conn.ensure_connection, interval_start=0.5, interval_step=0.5, interval_max=RECONNECT_S
        )
        return super().ensure_connected(conn)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Wait before connecting again to a Redis that answers, but refuses: otherwise it would be asked without a pause."""
        if isinstance(exc, REFUSED):
            time.sleep(RECONNECT_S)
        super().on_connection_error_after_connected(exc)

    def on_decode_error(self, message: Any, exc: Exception) -> None:  # noqa: ANN401  kombu's message
        """Refuse a message that Celery cannot decode."""
        self._refuse(message, exc)

    def on_invalid_task(self, body: object, message: Any, exc: Exception) -> None:  # noqa: ANN401, ARG002  Celery's hook
        """Refuse a message of which Celery cannot make a request."""
        self._refuse(message, exc)

    def _prepare(self, message: Any) -> None:  # noqa: ANN401  kombu's message
        headers = message.headers
        if not headers["task"].startswith(names.TASK_PREFIX):
            return
        args, kwargs, _ = message.payload
        # Celery shows these in logs, events and Flower, and other clients write the texts into them.
        headers["argsrepr"] = payloads.summary(payloads.argument(args, kwargs))
        headers["kwargsrepr"] = "{}"
        # The ledger stores the outcome.
        headers["ignore_result"] = True
        self._enter(message)

    def _enter(self, message: Any) -> None:  # noqa: ANN401  kombu's message
        """Open a ledger entry, if the publisher did not."""
        raw = message._raw
        message_id = transport.ledgered_id(raw)
        if message_id is None or message.properties.get(transport.LEDGERED):
            return
        raw["properties"][transport.LEDGERED] = True
        # A full Redis has no room for the entry, but doing the message makes room.
        with contextlib.suppress(errors.QueueFullError):
            self.app.in_flight().enter(message_id, message.delivery_info["routing_key"], dumps(raw).encode())

    def _postpone(self, message: Any) -> bool:  # noqa: ANN401  kombu's message
        """Have a message wait in Redis whose time is far off; a worker holds it for the last few seconds only.

        Redis delivers again what a worker holds for longer than the visibility timeout.
        """
        eta, message_id = message.headers.get("eta"), transport.ledgered_id(message._raw)
        if not eta or message_id is None:
            return False
        try:
            due = maybe_make_aware(maybe_iso8601(eta)).timestamp()  # type: ignore[arg-type]  # it is not empty
        except (ValueError, OverflowError):
            msg = "headers.eta: it is no time"
            raise MalformedMessageError(msg) from None
        longest_s = self.app.conf.broker_transport_options["visibility_timeout"] / 2
        in_flight = self.app.in_flight()
        ahead_s = due - in_flight.store.now()
        if ahead_s <= longest_s:
            return False
        if ahead_s > MAX_AHEAD_S:
            msg = f"headers.eta: it is more than {MAX_AHEAD_S // 86_400} days ahead"
            raise MalformedMessageError(msg)
        try:
            in_flight.defer(message_id, due - min(longest_s, HELD_S))
        except errors.QueueFullError:
            # This worker holds it until Redis delivers it again.
            return False
        message.ack()
        return True

    def _refuse(self, message: Any, error: Exception) -> None:  # noqa: ANN401  kombu's message
        raw = dumps(message._raw).encode()
        self.app.intake.refuse(message.delivery_info.get("routing_key") or "", raw, error)
        if not message.acknowledged:
            message.ack()
