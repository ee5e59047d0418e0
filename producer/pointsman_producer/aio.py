"""The client for asyncio services: nothing here blocks the event loop.

Single jobs always share messages: those that arrive while one message is being sent go together in the next.
"""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from pointsman_producer.client import DEFAULT_TIMEOUT_S, Client, UserLike, as_user, checked_request
from pointsman_producer.handles import Handle
from pointsman_shared import errors, jobs
from pointsman_shared.settings import Settings


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
