"""Put many single jobs into few messages, as Kafka's producers do: wait `linger_ms`, at most `max_batch`.

A message costs about 2 ms and a text some 20 microseconds, so shared messages make a service with many jobs at once
fifty times as fast. Each job keeps its own id, user and result.
"""

import contextlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import InvalidStateError
from dataclasses import KW_ONLY, dataclass

from pointsman_producer.client.handles import Handle, MessageHandle
from pointsman_shared import errors
from pointsman_shared.wire import jobs

logger = logging.getLogger(__name__)

CLOSING_S = 0.1


class Draft:
    """A message that is still being filled."""

    def __init__(self, message_id: str, ranking: int) -> None:
        self.ranking = ranking
        self.message = MessageHandle(message_id)
        self.message.is_sent = False
        self.texts: list[str] = []
        self.users: list[jobs.User | None] = []
        self._chars = 0
        self._given_up: set[str] = set()

    def has_room_for(self, text: str, ranking: int, max_batch: int) -> bool:
        """Tell whether a job fits into the limits of one message, and the message is still to be sent."""
        if self.message.future.cancelled() or ranking != self.ranking:
            return False
        return len(self.texts) < max_batch and self._chars + len(text) <= jobs.MAX_MESSAGE_CHARS

    def add(self, text: str, user: jobs.User | None) -> Handle:
        """Add a job."""
        self.texts.append(text)
        self.users.append(user)
        self._chars += len(text)
        return Handle(self.message, len(self.texts) - 1, text)

    def give_up(self, handle: Handle) -> None:
        """Note that the caller of one job stopped waiting; cancel the message if all its callers did."""
        self._given_up.add(handle.id)
        if len(self._given_up) == len(self.texts):
            self.message.future.cancel()


@dataclass(eq=False)
class Coalescer:
    """Collects jobs and sends them together, from a thread of its own; an error of `send` is the result of all of them."""

    send: Callable[[Draft], None]
    new_id: Callable[[], str]
    _: KW_ONLY
    linger_s: float
    max_batch: int

    def __post_init__(self) -> None:
        if not 1 <= self.max_batch <= jobs.MAX_TEXTS:
            msg = f"max_batch is {self.max_batch}: a message holds 1 to {jobs.MAX_TEXTS} texts"
            raise errors.SettingsError(msg)
        self._drafts: list[Draft] = []
        self._sending: Draft | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def add(self, text: str, user: jobs.User | None, ranking: int = 1) -> Handle:
        """Add a job; it is sent soon, in a message whose jobs all have as long a ranking."""
        with self._changed:
            if self._closed:
                msg = "the client is closed: make another one"
                raise errors.ClosedError(msg)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="pointsman-coalescer", daemon=True)
                self._thread.start()
            if not self._drafts or not self._drafts[-1].has_room_for(text, ranking, self.max_batch):
                self._drafts.append(Draft(self.new_id(), ranking))
            handle = self._drafts[-1].add(text, user)
            # A new draft also tells the thread that the draft before it is full.
            if len(self._drafts[-1].texts) in {1, self.max_batch}:
                self._changed.notify()
            return handle

    def give_up(self, handle: Handle) -> None:
        """Forget a job whose caller has stopped waiting, unless it was sent; a message without other jobs is not sent."""
        with self._changed:
            for draft in (self._sending, *self._drafts):
                if draft is not None and draft.message is handle.message:
                    draft.give_up(handle)

    def close(self) -> None:
        """Send the jobs whose callers still wait, and stop."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        while self._thread is not None and self._thread.is_alive() and self._is_wanted():
            self._thread.join(CLOSING_S)

    def _is_wanted(self) -> bool:
        with self._changed:
            drafts = [draft for draft in (self._sending, *self._drafts) if draft is not None]
        return not drafts or not all(draft.message.future.cancelled() for draft in drafts)

    def _run(self) -> None:
        while (draft := self._next()) is not None:
            if draft.message.future.cancelled():
                continue
            try:
                self.send(draft)
                draft.message.is_sent = True
            except Exception as error:
                if not (isinstance(error, errors.PointsmanError) or draft.message.future.cancelled()):
                    logger.exception("a message could not be sent")
                # The outcome may have arrived although the sending failed.
                with contextlib.suppress(InvalidStateError):
                    draft.message.future.set_exception(error)

    def _next(self) -> Draft | None:
        with self._changed:
            self._sending = None
            self._changed.wait_for(lambda: self._drafts or self._closed)
            if not self._drafts:
                return None
            self._changed.wait_for(self._is_full, timeout=self.linger_s)
            self._sending = self._drafts.pop(0)
            return self._sending

    def _is_full(self) -> bool:
        return self._closed or len(self._drafts) > 1 or len(self._drafts[0].texts) >= self.max_batch
