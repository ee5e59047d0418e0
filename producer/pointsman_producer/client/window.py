"""The messages of a transcript file that are in flight, the oldest first.

Their number is limited, because they and their replies are held in memory. Outcomes that were taken
leave Redis soon, so that a large file is not kept there twice.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple, Protocol

from pointsman_producer.client import users
from pointsman_producer.client.handles import MessageHandle
from pointsman_producer.transcripts.reader import Conversation, Turn
from pointsman_shared import errors, names
from pointsman_shared.wire import jobs

DEFAULT_SIZE = 16
DEFAULT_TIMEOUT_S = 300.0
# How soon a wait without any outcome notices a request to stop.
POLL_S = 0.25
# How often a wait without any outcome looks whether Redis still has the messages.
LOOK_S = 5.0
# Outcomes leave Redis, and the journal of a batch reaches the disk, once in so many messages.
RELEASE_MESSAGES = 32


class Submitter(Protocol):
    """The part of a client that a window needs."""

    def submit_message(self, request: jobs.ClassifyRequest, *, message_id: str, queue: str) -> MessageHandle:
        """Submit a message; a finished message is not done again."""

    def release(self, message_ids: Sequence[str]) -> None:
        """Let the outcomes of messages expire soon."""

    def lost(self, message_ids: Sequence[str]) -> list[str]:
        """Return those messages that Redis knows nothing of any more."""

    def forget(self, message_ids: Sequence[str], *, batch: str | None = None) -> None:
        """Drop the outcomes of messages and the counters of a batch, so that they are done again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The turns of one message, and their conversations; `position` is how far the input was read after the last."""

    number: int
    owners: list[Conversation]
    turns: list[Turn]
    position: int

    def request(self, batch: str | None = None, *, ranking: int = 1) -> jobs.ClassifyRequest:
        """Put the turns into a message, which may belong to a batch."""
        people = [owner.user for owner in self.owners]
        return users.checked_request([turn.text for turn in self.turns], people, batch, ranking=ranking)


class Sent(NamedTuple):
    """A message in flight; the caller has the first `written` of its outcomes already."""

    chunk: Chunk
    written: int
    request: jobs.ClassifyRequest
    handle: MessageHandle


@dataclass(eq=False)
class Window:
    """Sends messages and takes their replies in the order in which they were sent.

    `source` names the file in errors. `heed` is called during waits and ends them by raising. `secure` is called before
    outcomes leave Redis, to make the caller's copy durable.
    """

    submitter: Submitter
    _: KW_ONLY
    source: str
    size: int = DEFAULT_SIZE
    timeout_s: float = DEFAULT_TIMEOUT_S
    look_s: float = LOOK_S
    heed: Callable[[], None] = lambda: None
    secure: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self._sent: deque[Sent] = deque()
        self._taken: list[str] = []

    def __len__(self) -> int:
        return len(self._sent)

    def send(self, chunk: Chunk, request: jobs.ClassifyRequest, *, message_id: str, written: int = 0) -> None:
        """Put a message on the bulk queue."""
        handle = self.submitter.submit_message(request, message_id=message_id, queue=names.BULK_QUEUE)
        self._sent.append(Sent(chunk=chunk, written=written, request=request, handle=handle))

    def take(self) -> tuple[Sent, jobs.ClassifyReply]:
        """Wait for the reply to the oldest message; if a worker gave it up, the error names its lines."""
        sent = self._sent[0]
        try:
            reply = self._wait(sent.handle)
        except errors.PermanentError as error:
            lines = f"lines {sent.chunk.owners[0].line} to {sent.chunk.owners[-1].line}"
            named = type(error)(f"message {sent.handle.id} ({lines} of {self.source}) failed: {error}")
            named.dead_letter = error.dead_letter
            raise named from error
        return self._sent.popleft(), reply

    def take_ready(self) -> tuple[Sent, jobs.ClassifyReply]:
        """Return the reply to the oldest message; raise ResultTimeoutError if it has not arrived."""
        reply = self._sent[0].handle.result(0)
        return self._sent.popleft(), reply

    def release(self, message_id: str) -> None:
        """Let the outcomes of a message leave Redis, together with those of others."""
        self._taken.append(message_id)
        if len(self._taken) >= RELEASE_MESSAGES:
            self.flush()

    def flush(self) -> None:
        """Let all outcomes leave Redis that were released so far."""
        if not self._taken:
            return
        self.secure()
        # They expire by themselves later.
        with contextlib.suppress(errors.RetryableError):
            self.submitter.release(self._taken)
        self._taken = []

    def _wait(self, handle: MessageHandle) -> jobs.ClassifyReply:
        looked = time.monotonic()
        deadline = looked + self.timeout_s
        while True:
            self.heed()
            try:
                return handle.result(POLL_S)
            except errors.ResultTimeoutError:
                if handle.done():
                    # It arrived just now, or never will because the client was closed, which the error says.
                    return handle.result(0)
                if time.monotonic() >= deadline:
                    msg = f"no outcome came for {self.timeout_s:g} s: are workers running?"
                    raise errors.ResultTimeoutError(msg) from None
                if time.monotonic() - looked >= self.look_s:
                    self._send_lost_again()
                    looked = time.monotonic()

    def _send_lost_again(self) -> None:
        """Send those messages again that Redis has lost, with all it had in memory: their texts are still here."""
        with contextlib.suppress(errors.RetryableError):
            lost = set(self.submitter.lost([sent.handle.id for sent in self._sent]))
            for sent in self._sent:
                if sent.handle.id in lost:
                    self.submitter.submit_message(
                        sent.request, message_id=sent.handle.id, queue=names.BULK_QUEUE
                    )
