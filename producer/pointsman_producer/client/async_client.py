"""The client for asyncio services: it never blocks the event loop.

Single jobs always share messages: the jobs that arrive while one message is sent go together in the next one.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Sequence
from pathlib import Path
from typing import Self, TypeVar

from pointsman_producer.client import window as windows
from pointsman_producer.client.client import DEFAULT_TIMEOUT_S, Client
from pointsman_producer.client.handles import Handle
from pointsman_producer.client.stream import Stream, TurnOutcome
from pointsman_producer.client.users import UserLike
from pointsman_producer.transcripts import reader as transcript_reader
from pointsman_shared import errors
from pointsman_shared.settings import Settings
from pointsman_shared.wire import jobs

T = TypeVar("T")


class AsyncHandle:
    """One job in flight; see `handles.Handle`."""

    def __init__(self, handle: Handle) -> None:
        self.job = handle
        self.id = handle.id
        self.text = handle.text

    @property
    def status(self) -> str:
        """`pending`, `done` or `failed`."""
        return self.job.status

    def done(self) -> bool:
        """Tell whether the outcome is there."""
        return self.job.done()

    async def result(self, timeout_s: float | None = None, *, include_text: bool = True) -> jobs.Outcome:
        """Wait for the outcome; see `handles.MessageHandle.result`."""
        waiting = asyncio.wrap_future(self.job.message.future)
        try:
            # Shielded, because other jobs share the message: the timeout of one job must not cancel it.
            await asyncio.wait_for(asyncio.shield(waiting), timeout_s)
        except TimeoutError:
            raise self.job.message.timeout(timeout_s) from None
        except asyncio.CancelledError:
            # Either the task that waits was cancelled, or the client was closed, which the handle says in words.
            task = asyncio.current_task()
            if not self.job.message.future.cancelled() or (task is not None and task.cancelling()):
                raise
        return self.job.result(0, include_text=include_text)


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
        self._client = Client(redis_url, settings=settings, linger_ms=linger_ms, max_batch=max_batch)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Send the jobs that linger, stop listening, close the connections."""
        await asyncio.to_thread(self._client.close)

    async def classify(
        self,
        text: str,
        *,
        user: UserLike = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        include_text: bool = True,
        ranking: int = 1,
    ) -> jobs.Outcome:
        """Classify one text and wait for the outcome; see `client.Client.classify`."""
        handle = await self.submit(text, user=user, ranking=ranking)
        try:
            return await handle.result(timeout_s, include_text=include_text)
        except errors.ResultTimeoutError:
            self._client.give_up(handle.job)
            raise

    async def submit(self, text: str, *, user: UserLike = None, ranking: int = 1) -> AsyncHandle:
        """Submit one text with priority; see `client.Client.submit`."""
        return AsyncHandle(self._client.coalesce(text, user=user, ranking=ranking))

    async def submit_many(
        self,
        texts: Sequence[str],
        *,
        users: UserLike | Sequence[UserLike] = None,
        batch: str | None = None,
        ranking: int = 1,
    ) -> list[AsyncHandle]:
        """Submit many texts as bulk work; see `client.Client.submit_many`."""
        handles = await asyncio.to_thread(
            self._client.submit_many, texts, users=users, batch=batch, ranking=ranking
        )
        return [AsyncHandle(handle) for handle in handles]

    def classify_transcripts(
        self,
        path: str | Path,
        *,
        speakers: Sequence[str] = (transcript_reader.CUSTOMER,),
        window: int = windows.DEFAULT_SIZE,
        timeout_s: float = windows.DEFAULT_TIMEOUT_S,
        reject: Callable[[transcript_reader.Rejection], None] | None = None,
        include_text: bool = True,
        ranking: int = 1,
    ) -> AsyncIterator[TurnOutcome]:
        """Classify a transcript file of any size; see `client.Client.classify_transcripts`.

        A thread of its own reads the file and calls `reject`.
        """
        stream = Stream(path, speakers, window, timeout_s, reject, include_text, ranking)
        left = threading.Event()

        def heed() -> None:
            if left.is_set():
                raise concurrent.futures.CancelledError

        return in_thread(stream.by_message(self._client, heed=heed), leave=left.set)


async def in_thread(
    lists: Generator[list[T], None, None], leave: Callable[[], None]
) -> AsyncGenerator[T, None]:
    """Iterate over the items of lists that a thread makes; call `leave` when the caller stops, even during a list."""
    loop = asyncio.get_running_loop()
    # Not asyncio.to_thread: when the caller stops, the running step has to end before the generator can be closed.
    thread = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="pointsman-transcripts")
    try:
        while (items := await loop.run_in_executor(thread, next, lists, None)) is not None:
            for item in items:
                yield item
    finally:
        leave()
        thread.submit(lists.close)
        thread.shutdown(wait=False)
