"""A worker's heartbeat: when it last heard from its queues.

A worker whose connection was lost at a bad moment may stand still for ever, with a full queue behind it. Its parent
process writes to Redis when its consumer last had an answer. The launcher and Compose's health check read that, and a
worker that hears nothing while Redis answers ends itself, so that its supervisor starts it again.
"""

import logging
import os
import signal
import time
from collections.abc import Callable
from typing import Final

from pointsman_shared import errors
from pointsman_shared.store import heartbeat

logger = logging.getLogger(__name__)

BEAT_S: Final = 2.0


def end_this_process() -> None:
    """End at once: Redis returns the messages that the consumer holds; finished ones are recorded or redone."""
    os.kill(os.getpid(), signal.SIGKILL)


class Heartbeat:
    """Writes heartbeats, and ends a worker that is deaf.

    `heard_at` returns a time in the future while busy children are allowed to keep the consumer from its queues.
    """

    def __init__(
        self,
        beat: Callable[[float], object],
        heard_at: Callable[[], float],
        end: Callable[[], None] = end_this_process,
    ) -> None:
        self._beat = beat
        self._heard_at = heard_at
        self._end = end
        self._deaf_since: float | None = None

    def step(self, now: float | None = None) -> None:
        """Write a heartbeat; end a worker that was deaf for long while Redis answered."""
        now = time.time() if now is None else now
        heard_at = self._heard_at()
        try:
            self._beat(heard_at)
        except errors.RetryableError:
            # No worker hears from a Redis that is away; the time counts anew when it is back.
            self._deaf_since = None
            return
        if now - heard_at < heartbeat.DEAF_AFTER_S:
            self._deaf_since = None
            return
        if self._deaf_since is None:
            self._deaf_since = now
        if now - self._deaf_since >= heartbeat.DEAF_AFTER_S:
            logger.critical(
                "the queues were silent for %.0f s, though Redis answers: this worker ends", now - heard_at
            )
            self._end()
