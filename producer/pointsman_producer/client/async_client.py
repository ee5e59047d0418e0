"""The client for asyncio services: nothing here blocks the event loop.

Single jobs always share messages: those that arrive while one message is being sent go together in the next.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from pointsman_producer.client import in_flight
from pointsman_producer.client.chunks import TEXTS_PER_MESSAGE
from pointsman_producer.client.client import DEFAULT_TIMEOUT_S, Client, checked_request
from pointsman_producer.client.handles import Handle
from pointsman_producer.client.stream import Stream, TurnOutcome
from pointsman_producer.client.users import UserLike, as_user
from pointsman_producer.transcripts import reader as transcript_reader
from pointsman_shared import errors
from pointsman_shared.settings import Settings
from pointsman_shared.wire import jobs

T = TypeVar("T")


class AsyncHandle:
    """One job under way; see `handles.Handle`."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self.id = handle.id
        self.text = handle.text

    @property
    def status(self) -> str:
        """`pending`, `done` or `failed`."""
        return self._handle.status

    def done(self) -> bool:
        """Say whether the outcome is there."""
        return self._handle.done()

    async def result(self, timeout_s: float | None = None, *, include_text: bool = True) -> jobs.Outcome:
        """Wait for the outcome; see `handles.MessageHandle.result`."""
        waiting = asyncio.wrap_future(self._handle.message.future)
        try:
            # Shielded: other jobs share the message, and one caller's patience is not theirs.
            await asyncio.wait_for(asyncio.shield(waiting), timeout_s)
        except TimeoutError:
            msg = f"no outcome of {self.id} within {timeout_s} s; are workers running? Ask `pointsman doctor`"
            raise errors.ResultTimeoutError(msg) from None
        return self._handle.result(0, include_text=include_text)


class AsyncClient:
    """Submits classification jobs from asyncio code; see `client.Client` for the arguments."""

    def __init__(
        self,
        redis_url: str | None = None,
        *,
        settings: Settings | None = None,
        linger_ms: float = 0,
        max_batch: int = 500,
    ) -> None:
        self._client = Client(redis_url, settings=settings)
        self._coalescer = self._client.coalescer(linger_ms=linger_ms, max_batch=max_batch)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Send what still lingers, stop listening, give the connections back."""
        await asyncio.to_thread(self._coalescer.close)
        await asyncio.to_thread(self._client.close)

    async def classify(
        self,
        text: str,
        *,
        user: UserLike = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        include_text: bool = True,
    ) -> jobs.Outcome:
        """Classify one text and wait for the outcome; see `client.Client.classify`."""
        handle = await self.submit(text, user=user)
        return await handle.result(timeout_s, include_text=include_text)

    async def submit(self, text: str, *, user: UserLike = None) -> AsyncHandle:
        """Submit one text for somebody who waits for it; see `client.Client.submit`."""
        someone = as_user(user)
        checked_request([text], [someone])
        return AsyncHandle(self._coalescer.add(text, someone))

    async def submit_many(
        self, texts: Sequence[str], *, users: UserLike | Sequence[UserLike] = None, batch: str | None = None
    ) -> list[AsyncHandle]:
        """Submit many texts as bulk work; see `client.Client.submit_many`."""
        handles = await asyncio.to_thread(self._client.submit_many, texts, users=users, batch=batch)
        return [AsyncHandle(handle) for handle in handles]

    def classify_transcripts(
        self,
        path: str | Path,
        *,
        speakers: Sequence[str] = (transcript_reader.CUSTOMER,),
        window: int = in_flight.DEFAULT_WINDOW,
        timeout_s: float = in_flight.DEFAULT_TIMEOUT_S,
        reject: Callable[[transcript_reader.Rejection], None] | None = None,
        include_text: bool = True,
    ) -> AsyncIterator[TurnOutcome]:
        """Classify a transcript file of any size; see `client.Client.classify_transcripts`.

        The file is read in a thread of its own, in which `reject` is called too.
        """
        stream = Stream(
            path=path,
            speakers=speakers,
            texts_per_message=TEXTS_PER_MESSAGE,
            window=window,
            timeout_s=timeout_s,
            reject=reject,
            include_text=include_text,
        )
        left = threading.Event()

        def heed() -> None:
            if left.is_set():
                raise concurrent.futures.CancelledError

        return in_thread(stream.by_message(self._client, heed=heed), leave=left.set)


async def in_thread(
    lists: Generator[list[T], None, None], leave: Callable[[], None]
) -> AsyncGenerator[T, None]:
    """Iterate over the items of lists that are made in a thread of their own.

    Args:
        lists: Makes them.
        leave: Called when no more are wanted, perhaps while one is being made.
    """
    loop = asyncio.get_running_loop()
    # Not asyncio.to_thread: what is under way when the caller leaves has to end before the generator can be closed.
    thread = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="pointsman-transcripts")
    try:
        while (items := await loop.run_in_executor(thread, next, lists, None)) is not None:
            for item in items:
                yield item
    finally:
        leave()
        thread.submit(lists.close)
        thread.shutdown(wait=False)
