"""The way from a queue into the worker: what cannot be read becomes a dead letter, and the way stays open.

If it at least names its message, that message fails, so that its caller does not wait in vain.

Kombu parses what it takes from a Redis list before anything can check it, and what it cannot parse ends the consumer;
Celery logs in full what it does not understand. So every message is checked here, once, before both.
"""

import contextlib
import hashlib
import logging
import os
import time
from collections import deque
from collections.abc import Collection, Iterator
from queue import Empty
from typing import Any, Final

from celery.exceptions import NotRegistered
from kombu.transport import redis as kombu_redis
from kombu.transport.virtual import Message as KombuMessage
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps

from pointsman_shared import errors, names
from pointsman_shared.broker import transport
from pointsman_shared.store import dead_letters
from pointsman_shared.store.connection import REFUSED, Piecemeal, is_full
from pointsman_workers.delivery import validation
from pointsman_workers.delivery.in_flight import InFlight
from pointsman_workers.delivery.ledger import Ledger
from pointsman_workers.delivery.unacked import Unacked
from pointsman_workers.process import refresh
from pointsman_workers.process.per_process import PerProcess

logger = logging.getLogger(__name__)

TRANSPORT: Final = f"{__name__}:Transport"
# Where other workers answer this one, which asks who is there when it begins.
REPLIES: Final = ".pidbox"
# The key under which an envelope carries its decoded body to the message that kombu makes of it.
_DECODED: Final = "pointsman_decoded"
# When this process last heard from its queues, even if they were empty.
polled_at = 0.0
# How many receivers the last event of each group had, `task` and `worker`.
listeners: dict[str, int] = {}


class Intake:
    """Reads what lies on the queues, and keeps what cannot be read as dead letters."""

    def __init__(
        self, tasks: Collection[str], in_flight: PerProcess[InFlight], ledger: PerProcess[Ledger]
    ) -> None:
        self._tasks = tasks
        self._in_flight = in_flight
        self._ledger = ledger
        # What is refused while Redis is away; it is on no list any more.
        self._unburied: deque[tuple[str, bytes, Exception]] = deque()

    def read(self, queue: str, raw: bytes) -> dict[str, Any]:
        """Read a message."""
        if queue.endswith(REPLIES):
            return validation.read_reply(raw)
        envelope, body = validation.read(raw, self._tasks)
        # A message that is returned goes back to its own queue, even if it names another.
        envelope["properties"]["delivery_info"].update(exchange="", routing_key=queue)
        envelope[_DECODED] = body
        return envelope

    def refuse(self, queue: str, raw: bytes, error: Exception) -> None:
        """Keep something as a dead letter, and fail the message that it is; retried until Redis answers."""
        self._unburied.append((queue, raw, error))
        while self._unburied:
            try:
                self._bury(*self._unburied[0])
            except errors.RetryableError as away:
                raise ConnectionResetError(str(away)) from away
            self._unburied.popleft()

    def _bury(self, queue: str, raw: bytes, error: Exception) -> None:
        detail = (
            str(error)
            if isinstance(error, validation.MalformedMessageError)
            else f"it cannot be read ({type(error).__name__})"
        )
        letter = dead_letters.DeadLetter(
            # Not the id that it claims: that may be another message's.
            id=f"malformed-{hashlib.sha256(raw).hexdigest()[:16]}-{time.time_ns() % 10**9}",
            reason=dead_letters.MALFORMED,
            error=type(error).__name__,
            detail=detail,
            queue=queue,
            worker=f"{os.uname().nodename}:{os.getpid()}",
            died_at=self._in_flight().store.now(),
            payload=raw,
            versions=refresh.versions(),
        )
        self._in_flight().letters.bury(letter)
        claim = validation.claim(raw)
        if claim.id is not None and self._in_flight().may_be(claim.id, claim.body):
            failure: Exception = errors.InvalidMessageError(detail)
            if isinstance(error, validation.UnknownTaskError):
                # As Celery's own workers answer.
                failure = NotRegistered(error.task)
            self._ledger().reject(claim.id, letter, failure, client_id=claim.client_id)
        logger.warning("a message on queue %s cannot be read and is now a dead letter: %s", queue, detail)

    def __json__(self) -> str:
        """Let Celery's remote control show the transport options it is among."""
        return type(self).__name__


class Message(KombuMessage):
    """A message whose body is decoded already."""

    def __init__(self, payload: dict[str, Any], channel: Any = None, **kwargs: Any) -> None:  # noqa: ANN401  kombu's
        decoded = payload.pop(_DECODED, None)
        super().__init__(payload, channel=channel, **kwargs)
        self._decoded_cache = decoded


class Channel(transport.Channel):
    """The worker's channel on one Redis server; its transport options hold an `Intake`."""

    from_transport_options = (*transport.Channel.from_transport_options, "intake")
    Message = Message
    QoS = Unacked
    intake: Intake

    def _get_client(self) -> type[Piecemeal]:
        return Piecemeal

    def _queue_bind(self, *args: Any) -> None:  # noqa: ANN401  kombu's signature
        # A worker can consume all the same, and who publishes binds the queue as well.
        with _unless_full():
            super()._queue_bind(*args)  # type: ignore[misc]  # kombu's

    def _refresh_bindings(self, queues: Any) -> None:  # noqa: ANN401  kombu's signature
        # The next time makes anew what ran out.
        with _unless_full():
            super()._refresh_bindings(queues)  # type: ignore[misc]  # kombu's

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:  # noqa: ANN401  kombu's signature
        # Who asks this worker something while Redis is full gets no answer.
        with _unless_full() if queue.endswith(REPLIES) else contextlib.nullcontext():
            super()._put(queue, message, **kwargs)

    def _put_fanout(self, exchange: str, message: dict[str, Any], routing_key: str, **kwargs: Any) -> None:  # noqa: ANN401  kombu's signature
        if exchange != self.keys.queue(names.EVENTS):
            super()._put_fanout(exchange, message, routing_key, **kwargs)  # type: ignore[misc]  # kombu's
            return
        with self.conn_or_acquire() as redis:
            topic = self._get_publish_topic(exchange, routing_key)  # type: ignore[attr-defined]  # kombu's
            listeners[routing_key.partition(".")[0]] = redis.publish(topic, dumps(message))

    def _brpop_read(self, **options: Any) -> bool:  # noqa: ANN401  kombu's signature
        # As kombu's own, except for what happens between the answer and the delivery.
        global polled_at  # noqa: PLW0603  a process has one consumer
        try:
            try:
                answer = self.client.parse_response(self.client.connection, "BRPOP", **options)
            except self.connection_errors:  # type: ignore[attr-defined]  # kombu's
                self.client.connection.disconnect()
                raise
            polled_at = time.time()
            if not answer:
                raise Empty
            key, raw = answer
            queue = bytes_to_str(key).rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)  # type: ignore[attr-defined]
            self._admit(queue, raw)
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()  # type: ignore[attr-defined]
        return True

    def _admit(self, queue: str, raw: bytes) -> None:
        try:
            envelope = self.intake.read(queue, raw)
        except validation.MalformedMessageError as error:
            self.intake.refuse(queue, raw, error)
        else:
            self.connection._deliver(envelope, queue)


@contextlib.contextmanager
def _unless_full() -> Iterator[None]:
    """Leave out what a full Redis refuses."""
    try:
        yield
    except REFUSED as error:
        if not is_full(error):
            raise


class Transport(kombu_redis.Transport):
    """The worker's transport on one Redis server."""

    Channel = Channel
    # What a Redis refuses that is full, or was made a replica, it takes again later: for a worker, it is away.
    connection_errors = (*kombu_redis.Transport.connection_errors, REFUSED)
