"""A worker's sign of life: when it last heard from its queues. What it has stopped hearing from, it has stopped serving.

A worker whose connection was lost in a bad moment may stand there for ever with a full queue behind it. Its parent
process tells Redis when its consumer last had an answer; the launcher and Compose's health check look at that, and a
worker that finds itself deaf, with a Redis that answers, ends, so that whoever started it starts it again.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Protocol

from pointsman_shared import errors
from pointsman_shared.store import heartbeat

logger = logging.getLogger(__name__)

BEAT_S = 2.0


class Book(Protocol):
    """Where signs of life are kept."""

    def beat(self, node: str, heard_at: float, ttl_s: float) -> None:
        """Write one down, or raise a RetryableError."""
        ...


def end_this_process() -> None:
    """End without ado: what the consumer holds is given back by Redis, what the children do is recorded or redone."""
    os.kill(os.getpid(), signal.SIGKILL)


class Pulse:
    """A daemon thread of a worker's parent.

    Args:
        node: The worker's name.
        book: Where signs of life are kept.
        heard_at: Says when the consumer last had an answer; in the future while its children are allowed to keep it
            from asking.
        end: What to do about a deaf consumer.
    """

    def __init__(
        self, node: str, book: Book, heard_at: Callable[[], float], end: Callable[[], None] = end_this_process
    ) -> None:
        self._node = node
        self._book = book
        self._heard_at = heard_at
        self._end = end
        self._deaf_since: float | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pointsman-pulse", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the step under way."""
        self._stopped.set()
        # A worker that is ended before it was ready has not begun.
        if self._thread.ident is not None:
            self._thread.join(timeout=5)

    def beat(self, now: float) -> None:
        """Write a sign of life down, and end a worker that was deaf for long while Redis answered."""
        heard_at = self._heard_at()
        try:
            self._book.beat(self._node, heard_at, heartbeat.PULSE_TTL_S)
        except errors.RetryableError:
            # Nobody hears from a Redis that is away; what counts begins anew when it is back.
            self._deaf_since = None
            return
        if now - heard_at < heartbeat.DEAF_AFTER_S:
            self._deaf_since = None
            return
        if self._deaf_since is None:
            self._deaf_since = now
        if now - self._deaf_since >= heartbeat.DEAF_AFTER_S:
            logger.critical(
                "nothing was heard from the queues for %.0f s, though Redis answers: ending", now - heard_at
            )
            self._end()

    def _run(self) -> None:
        while not self._stopped.wait(BEAT_S):
            self.beat(time.time())
