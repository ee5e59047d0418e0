"""The way from a queue into the worker: whatever is no sound message goes to the dead letters, and the way stays open.

Kombu parses what it takes off a Redis list before anybody may look at it, and what it cannot parse ends the consumer;
Celery logs in full what it does not understand. So there is a gate in front of each: the channel for what kombu
reads, the consumer for what Celery reads.
"""

import functools
import hashlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from queue import Empty
from typing import Any, Final

from celery.worker import state
from celery.worker.consumer import Consumer
from kombu.transport import redis as kombu_redis
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps

from pointsman_shared import errors, names
from pointsman_shared.broker import transport
from pointsman_shared.store import dead_letters
from pointsman_workers import bootstrap
from pointsman_workers.delivery import task as delivery_task
from pointsman_workers.delivery import validation
from pointsman_workers.process import refresh
from pointsman_workers.shadow import scheduler

logger = logging.getLogger(__name__)

# What building kombu's message from an unsound envelope can raise.
UNREADABLE: Final = (
    errors.InvalidMessageError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RecursionError,
)
# When this process last heard from its queues, be it that they are empty.
polled_at = 0.0
# How many messages it has taken that somebody waits for.
asked = 0
# The longest pause between two tries to connect.
RECONNECT_S: Final = 1.0
# How long a shutdown waits for it to be noted what it cuts off.
EXCUSE_S: Final = 1.0
# What is to be buried when Redis is back.
_unburied: deque[tuple[str, bytes, Exception]] = deque()


def for_url(broker_url: str) -> str | None:
    """Give the worker's transport for a broker's URL, as Celery wants it named; None leaves it to the URL."""
    named = transport.for_url(broker_url)
    return named and named.replace(transport.__name__, __name__)


def hearing(task: str) -> Callable[[], float]:
    """Give a function that says when the queues were last heard from.

    While messages are held, none may be asked for; the time limit of their kind bounds for how long.
    """
    busy_s = delivery_task.limits(bootstrap.settings(), task).hard_s
    begun_at = time.time()
    return lambda: max(polled_at, begun_at) + (busy_s if state.reserved_requests else 0)


def activity() -> scheduler.Activity:
    """Say what this worker has in hand."""
    try:
        held = [request.name for request in list(state.reserved_requests)]
    except RuntimeError:  # the consumer's thread took a message meanwhile
        return scheduler.Activity(serving=1, served=-1, asked=asked, shadowing=0)
    shadowing = held.count(names.SHADOW_TASK)
    served = sum(state.total_count.values()) - state.total_count[names.SHADOW_TASK]
    return scheduler.Activity(serving=len(held) - shadowing, served=served, asked=asked, shadowing=shadowing)


class Gate:
    """A channel that lets nothing unsound through to kombu."""

    def _brpop_read(self, **options: Any) -> bool:  # noqa: ANN401  kombu's signature
        # As kombu's own, but for what happens between the answer and the delivery.
        global polled_at  # noqa: PLW0603  one consumer a process
        try:
            try:
                answer = self.client.parse_response(self.client.connection, "BRPOP", **options)  # type: ignore[attr-defined]
            except self.connection_errors:  # type: ignore[attr-defined]
                self.client.connection.disconnect()  # type: ignore[attr-defined]
                raise
            polled_at = time.time()
            if not answer:
                raise Empty
            key, raw = answer
            queue = bytes_to_str(key).rsplit(self.sep, 1)[0]  # type: ignore[attr-defined]
            self._queue_cycle.rotate(queue)  # type: ignore[attr-defined]
            self._admit(queue, raw)
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()  # type: ignore[attr-defined]
        return True

    def _admit(self, queue: str, raw: bytes) -> None:
        try:
            envelope = validation.read(raw)
            # What is given back goes to where it came from, whatever the message says.
            envelope["properties"]["delivery_info"].update(exchange="", routing_key=queue)
            self.connection._deliver(envelope, queue)  # type: ignore[attr-defined]
        except UNREADABLE as error:
            # It is off its list already, and in no other.
            _unburied.append((queue, raw, error))
        while _unburied:
            try:
                bury(*_unburied[0])
            except errors.RetryableError as error:
                raise ConnectionResetError(str(error)) from error
            _unburied.popleft()


class Channel(Gate, transport.Channel):
    """The worker's channel on one Redis server."""


class Transport(kombu_redis.Transport):
    """The worker's transport on one Redis server."""

    Channel = Channel


class WatchfulConsumer(Consumer):
    """Celery's consumer, that runs nothing unsound and logs nothing of what it refuses."""

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:  # noqa: ANN401  Celery's signature
        """Give the function that takes each message."""
        handle = super().create_task_handler(*args, **kwargs)
        lost_redis = (*self.connection_errors, *self.channel_errors)  # type: ignore[attr-defined]  # celery's

        def take(message: Any) -> None:  # noqa: ANN401  kombu's message
            try:
                self._check(message)
                enter(message)
                handle(message)
                count(message)
            except (*lost_redis, errors.RetryableError):
                raise
            except (
                Exception
            ) as error:  # whatever an unsound message makes Celery raise must not end the consumer
                self._refuse(message, error)

        return take

    def ensure_connected(self, conn: Any) -> Any:  # noqa: ANN401  kombu's connection
        """Connect, trying often: Celery's own pauses grow to half a minute, in which Redis may long be back."""
        conn.ensure_connection = functools.partial(
            conn.ensure_connection, interval_start=0.5, interval_step=0.5, interval_max=RECONNECT_S
        )
        return super().ensure_connected(conn)

    def cancel_active_requests(self) -> None:
        """Cut off what did not end by itself within the soft shutdown."""
        # This is the handler of a signal, and the thread that it interrupted may hold the connection.
        noting = threading.Thread(target=excuse, args=[self.hostname], name="pointsman-excuse", daemon=True)
        noting.start()
        noting.join(EXCUSE_S)
        super().cancel_active_requests()

    def on_decode_error(self, message: Any, exc: Exception) -> None:  # noqa: ANN401  kombu's message
        """Bury what cannot be decoded."""
        self._refuse(message, exc)

    def on_unknown_message(self, body: object, message: Any) -> None:  # noqa: ANN401, ARG002  Celery's hook
        """Bury what names no task."""
        self._refuse(message, validation.MalformedMessageError("it names no task"))

    def on_unknown_task(self, body: object, message: Any, exc: Exception) -> None:  # noqa: ANN401, ARG002  Celery's hook
        """Bury what names a task there is not."""
        self._refuse(message, validation.MalformedMessageError("it asks for a task that is not known here"))

    def on_invalid_task(self, body: object, message: Any, exc: Exception) -> None:  # noqa: ANN401, ARG002  Celery's hook
        """Bury what Celery cannot make a request of."""
        self._refuse(message, exc)

    def _check(self, message: Any) -> None:  # noqa: ANN401  kombu's message
        headers = message.headers
        validation.check_headers(
            headers,
            message.properties,
            content_type=message.content_type,
            encoding=message.content_encoding,
            tasks=self.app.tasks,
        )
        validation.check_body(message.payload)
        if headers["task"].startswith(names.TASK_PREFIX):
            args, kwargs, _ = message.payload
            # Celery shows these in logs, events and Flower; a client that left them to Celery would show its texts.
            headers["argsrepr"] = summary(delivery_task.payload_of(tuple(args), kwargs))
            headers["kwargsrepr"] = "{}"
            # The ledger stores the outcome.
            headers["ignore_result"] = True

    def _refuse(self, message: Any, error: Exception) -> None:  # noqa: ANN401  kombu's message
        raw = dumps(getattr(message, "_raw", None) or {}).encode()
        queue = (message.delivery_info or {}).get("routing_key") or ""
        bury(queue, raw, error, headers=message.headers)
        disown(message)
        if not message.acknowledged:
            message.ack()


def count(message: Any) -> None:  # noqa: ANN401  kombu's message
    """Note that somebody waits for a message."""
    global asked  # noqa: PLW0603  one consumer a process
    asked += message.delivery_info.get("routing_key") == names.INTERACTIVE_QUEUE


def enter(message: Any) -> None:  # noqa: ANN401  kombu's message
    """Open a ledger entry for a message of ours that somebody sent who keeps no ledger."""
    raw = getattr(message, "_raw", None)
    if raw is None or message.properties.get(transport.LEDGERED):
        return
    message_id = transport.ledgered_id(raw)
    if message_id is not None and bootstrap.settings().broker_url is None:
        raw["properties"][transport.LEDGERED] = True
        bootstrap.open_messages().enter(message_id, message.delivery_info["routing_key"], dumps(raw).encode())


def disown(message: Any) -> None:  # noqa: ANN401  kombu's message
    """Close the ledger entry of a message that was put aside, so that nobody publishes it again."""
    raw = getattr(message, "_raw", None) or {}
    message_id = transport.ledgered_id(raw)
    if message_id is not None and bootstrap.settings().broker_url is None:
        bootstrap.open_messages().disown(message_id, raw.get("body"))


def excuse(node: str) -> None:
    """Note that a worker which was asked to end cuts off what it does: a long training may live through many of those."""
    running = [str(request.id) for request in state.active_requests]
    try:
        bootstrap.open_messages().excuse(running, node)
    except errors.RetryableError:
        logger.warning("Redis is away, so the starts of what is cut off count")


def bury(queue: str, raw: bytes, error: Exception, *, headers: Mapping[str, Any] | None = None) -> None:
    """Make a dead letter of something that is no sound message.

    Raises:
        LedgerUnavailableError: Redis is away.
    """
    known = isinstance(error, validation.MalformedMessageError)
    detail = str(error) if known else f"it cannot be read ({type(error).__name__})"
    letter = dead_letters.DeadLetter(
        # Not the id it claims: that may be another message's.
        id=f"malformed-{hashlib.sha256(raw).hexdigest()[:16]}-{time.time_ns() % 10**9}",
        reason=dead_letters.MALFORMED,
        error=type(error).__name__,
        detail=detail,
        queue=queue,
        task=_shown((headers or {}).get("task")),
        worker=f"{os.uname().nodename}:{os.getpid()}",
        died_at=time.time(),
        payload=raw,
        versions=refresh.versions(),
    )
    bootstrap.open_messages().bury(letter)
    logger.warning("something on queue %s is no message and was put aside: %s", queue, detail)


def _shown(task: object) -> str:
    return task[: validation.MAX_ID_CHARS] if isinstance(task, str) else ""


def summary(payload: object) -> str:
    """Say of a message's argument what may be shown."""
    texts, batch = delivery_task.texts_of(payload), delivery_task.batch_of(payload)
    if texts:
        return f"({texts} text{'s' if texts > 1 else ''}{f', batch {batch}' if batch else ''})"
    tier = payload.get("tier") if isinstance(payload, dict) else None
    return f"(tier {tier})" if isinstance(tier, str) and len(tier) <= validation.MAX_ID_CHARS else "(...)"
