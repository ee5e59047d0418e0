"""The messages of a transcript file that are under way, the oldest first.

How many there may be at once is the caller's to say: they, and the replies to them, are what is held in memory.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pointsman_producer.client.chunks import Chunk
from pointsman_shared import errors, names
from pointsman_shared.wire import jobs

DEFAULT_WINDOW = 16
DEFAULT_TIMEOUT_S = 300.0
# How soon a request to stop is noticed while nothing arrives.
POLL_S = 0.25


class MessageHandle(Protocol):
    """A message under way."""

    @property
    def id(self) -> str:
        """The message's id."""

    def done(self) -> bool:
        """Say whether waiting longer changes nothing."""

    def result(self, timeout_s: float) -> jobs.ClassifyReply:
        """Wait for the reply; may be asked again after a `ResultTimeoutError`."""


class Submitter(Protocol):
    """What is asked of a client."""

    def submit_message(self, request: jobs.ClassifyRequest, *, message_id: str, queue: str) -> MessageHandle:
        """Submit a message; one that was done already is not done again."""

    def release(self, message_ids: Sequence[str]) -> None:
        """Let the outcomes of messages go: nobody will ask for them again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A message in flight."""

    chunk: Chunk
    written: int
    """How many of its outcomes the caller has already."""
    handle: MessageHandle


class InFlight:
    """Sends messages and waits for their replies in the order in which they were sent.

    Args:
        submitter: Takes the messages.
        source: What messages to people call the file.
        timeout_s: How long to wait for the next reply before giving up.
        heed: Called again and again while waiting; ends the wait by raising.
    """

    def __init__(
        self, submitter: Submitter, *, source: str, timeout_s: float, heed: Callable[[], None]
    ) -> None:
        self._submitter = submitter
        self._source = source
        self._timeout_s = timeout_s
        self._heed = heed
        self._sent: deque[Sent] = deque()

    def __len__(self) -> int:
        return len(self._sent)

    def send(self, chunk: Chunk, request: jobs.ClassifyRequest, *, message_id: str, written: int = 0) -> None:
        """Put a message on the bulk queue."""
        handle = self._submitter.submit_message(request, message_id=message_id, queue=names.BULK_QUEUE)
        self._sent.append(Sent(chunk=chunk, written=written, handle=handle))

    def take(self) -> tuple[Sent, jobs.ClassifyReply]:
        """Wait for the reply to the oldest message.

        Raises:
            ResultTimeoutError: It did not come in time.
            PermanentError: A worker gave the message up; its lines are named.
        """
        try:
            reply = self._wait(self._sent[0].handle)
        except errors.PermanentError as error:
            raise self._naming_lines(error) from error
        return self._sent.popleft(), reply

    def take_ready(self) -> tuple[Sent, jobs.ClassifyReply]:
        """Give the reply to the oldest message if it is there.

        Raises:
            ResultTimeoutError: It is not.
            PermanentError: A worker gave the message up.
        """
        reply = self._sent[0].handle.result(0)
        return self._sent.popleft(), reply

    def _wait(self, handle: MessageHandle) -> jobs.ClassifyReply:
        deadline = time.monotonic() + self._timeout_s
        while True:
            self._heed()
            try:
                return handle.result(POLL_S)
            except errors.ResultTimeoutError:
                if handle.done():
                    # It came just now, or never will: the client was closed, and says so.
                    return handle.result(0)
                if time.monotonic() >= deadline:
                    msg = f"no outcome came for {self._timeout_s:g} s: are workers running? Ask `pointsman doctor`"
                    raise errors.ResultTimeoutError(msg) from None

    def _naming_lines(self, error: errors.PermanentError) -> errors.PermanentError:
        sent = self._sent[0]
        lines = f"lines {sent.chunk.owners[0].line} to {sent.chunk.owners[-1].line}"
        named = type(error)(f"message {sent.handle.id} ({lines} of {self._source}) failed: {error}")
        named.dead_letter = error.dead_letter
        return named
