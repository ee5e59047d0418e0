"""Learn that messages are done, and fetch their results.

One thread listens on the client's own reply channel, so a wait needs no polling; a slow poll finds the results that a
lost connection missed.
"""

import functools
import itertools
import logging
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future

from redis.client import PubSub
from redis.exceptions import AuthenticationError

from pointsman_shared import errors
from pointsman_shared.store import connection
from pointsman_shared.store.connection import Store

logger = logging.getLogger(__name__)

POLL_S = 1.0
POLL_MESSAGES = 200
_UNFINISHED = (b'"PROGRESS"', b'"STARTED"', b'"RETRY"', b'"PENDING"')
STATUS_BYTES = 40


class Inbox:
    """Turns message ids into futures of their stored results."""

    def __init__(self, store: Store, client_id: str) -> None:
        self._store = store
        self._keys = store.keys
        self._channel = self._keys.reply_channel(client_id)
        self._waiting: dict[str, Future[bytes]] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def expect(self, message_id: str, future: Future[bytes]) -> None:
        """Resolve the future when the message is done; call this before the message is sent."""
        with self._lock:
            if self._thread is None:
                self._start()
            earlier = self._waiting.setdefault(message_id, future)
        if earlier is not future:
            # Two callers of this client wait for one message: the second one joined a training run of the first.
            earlier.add_done_callback(functools.partial(_pass_on, future))

    def forget(self, message_id: str, future: Future[bytes]) -> None:
        """Stop waiting for a message, unless it is another future that waits for it."""
        with self._lock:
            if self._waiting.get(message_id) is future:
                del self._waiting[message_id]

    def fetch(self, message_id: str) -> bytes | None:
        """Read the stored result of a message, which may be unfinished."""
        stored = self._store.get(self._keys.result(message_id))
        return stored.encode() if isinstance(stored, str) else stored

    def close(self) -> None:
        """Stop listening; futures that are not resolved are cancelled."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(timeout=2 * POLL_S)
        for future in self._waiting.values():
            future.cancel()
        self._waiting.clear()

    def _start(self) -> None:
        self._store.require_one_server()
        with connection.translated():
            pubsub = self._store.pubsub()  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
            pubsub.subscribe(self._channel)
            # The subscription is confirmed before anything is sent, so that no reply comes too early.
            pubsub.get_message(timeout=5)
        self._thread = threading.Thread(
            target=self._listen, args=(pubsub,), name="pointsman-inbox", daemon=True
        )
        self._thread.start()

    def _listen(self, pubsub: PubSub) -> None:
        polled = time.monotonic()
        while not self._closed.is_set():
            try:
                with connection.translated():
                    self._resolve(_hear(pubsub))
                if time.monotonic() - polled >= POLL_S:
                    polled = time.monotonic()
                    self._resolve(self._next_to_poll())
            except connection.UNAVAILABLE as error:
                if isinstance(error.__cause__, AuthenticationError):
                    self._fail(error.__cause__)
                logger.warning("no results are received, trying again: %s", type(error.__cause__).__name__)
                self._closed.wait(POLL_S)
        pubsub.close()

    def _fail(self, cause: AuthenticationError) -> None:
        """End all waits: a password that is refused does not become right by itself."""
        with self._lock:
            futures = list(self._waiting.values())
            self._waiting.clear()
        for future in futures:
            if future.set_running_or_notify_cancel():
                refusal = errors.BrokerUnavailableError(f"Redis refuses the user or the password: {cause}")
                refusal.__cause__ = cause
                future.set_exception(refusal)

    def _next_to_poll(self) -> list[str]:
        """Take turns, so that messages without an outcome do not keep the others from being polled."""
        with self._lock:
            ids = list(itertools.islice(self._waiting, POLL_MESSAGES))
            for message_id in ids:
                self._waiting[message_id] = self._waiting.pop(message_id)
        return ids

    def _resolve(self, message_ids: Iterable[str]) -> None:
        wanted = [message_id for message_id in message_ids if message_id in self._waiting]
        if not wanted:
            return
        stored = self._store.mget([self._keys.result(message_id) for message_id in wanted])
        for message_id, raw in zip(wanted, stored, strict=True):
            # Every stored result begins with its status.
            if not isinstance(raw, bytes) or any(status in raw[:STATUS_BYTES] for status in _UNFINISHED):
                continue
            with self._lock:
                future = self._waiting.pop(message_id, None)
            if future is not None and future.set_running_or_notify_cancel():
                future.set_result(raw)


def _hear(pubsub: PubSub) -> list[str]:
    heard: list[str] = []
    message = pubsub.get_message(timeout=POLL_S / 2)
    while message is not None:
        if message["type"] == "message":
            heard.append(message["data"].decode())
        message = pubsub.get_message(timeout=0)
    return heard


def _pass_on(future: Future[bytes], earlier: Future[bytes]) -> None:
    if earlier.cancelled():
        future.cancel()
    elif future.set_running_or_notify_cancel():
        future.set_result(earlier.result())
