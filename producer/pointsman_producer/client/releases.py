"""Letting outcomes go from Redis that somebody has by now, so that a large file is not kept there twice."""

import contextlib
from collections.abc import Callable

from pointsman_producer.client.in_flight import Submitter
from pointsman_shared import errors

# Outcomes leave Redis, and the journal of a batch reaches the disk, once in so many messages.
RELEASE_MESSAGES = 32


class Releases:
    """Lets the outcomes of messages go, many messages at a time.

    Args:
        submitter: Lets them go.
        secure: Called before, to make what was kept of them last.
    """

    def __init__(self, submitter: Submitter, *, secure: Callable[[], None] = lambda: None) -> None:
        self._submitter = submitter
        self._secure = secure
        self._message_ids: list[str] = []

    def add(self, message_id: str) -> None:
        """Take a message whose outcomes are not needed in Redis any more."""
        self._message_ids.append(message_id)
        if len(self._message_ids) >= RELEASE_MESSAGES:
            self.flush()

    def flush(self) -> None:
        """Let go what was taken so far."""
        if not self._message_ids:
            return
        self._secure()
        # They go by themselves later; no reason to stop.
        with contextlib.suppress(errors.RetryableError):
            self._submitter.release(self._message_ids)
        self._message_ids = []
