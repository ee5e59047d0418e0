"""Iterating in a thread, for callers that must not block."""

import asyncio
import threading
from collections.abc import Generator

import pytest

from pointsman_producer.client import async_client
from pointsman_producer.client.handles import Handle, MessageHandle
from pointsman_shared import errors

DEADLINE_S = 20


class Source:
    """Makes lists in a thread; behind the last one it fails, waits until the consumer leaves, or simply ends."""

    def __init__(self, lists: int, *, error: Exception | None = None, waits: bool = False) -> None:
        self.threads: set[int] = set()
        self.made = 0
        self.left, self.closed = threading.Event(), threading.Event()
        self._lists = lists
        self._error = error
        self._waits = waits

    def make(self) -> Generator[list[int], None, None]:
        try:
            for number in range(self._lists):
                self.threads.add(threading.get_ident())
                self.made += 1
                yield [2 * number, 2 * number + 1]
            if self._error:
                raise self._error
            if self._waits:
                assert self.left.wait(DEADLINE_S)
        finally:
            self.closed.set()


def test_items_come_in_order_from_one_other_thread() -> None:
    source = Source(5)

    async def collect() -> list[int]:
        return [item async for item in async_client.in_thread(source.make(), source.left.set)]

    assert asyncio.run(collect()) == list(range(10))
    assert len(source.threads) == 1
    assert source.threads != {threading.get_ident()}


def test_an_error_in_the_thread_reaches_the_caller() -> None:
    source = Source(1, error=ValueError("no more"))

    async def collect() -> None:
        async for _ in async_client.in_thread(source.make(), source.left.set):
            pass

    with pytest.raises(ValueError, match="no more"):
        asyncio.run(collect())


def test_no_more_is_made_than_is_asked_for_and_leaving_closes_the_source() -> None:
    source = Source(5)

    async def take_three() -> None:
        items = async_client.in_thread(source.make(), source.left.set)
        assert [await anext(items) for _ in range(3)] == [0, 1, 2]
        await items.aclose()

    asyncio.run(take_three())
    assert source.closed.wait(DEADLINE_S)
    assert source.made == 2


def test_a_task_that_is_cancelled_while_waiting_leaves_no_thread_behind() -> None:
    source = Source(1, waits=True)

    async def collect() -> None:
        async for _ in async_client.in_thread(source.make(), source.left.set):
            pass

    async def cancel() -> None:
        task = asyncio.create_task(collect())
        async with asyncio.timeout(DEADLINE_S):
            while source.made == 0:
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert source.closed.wait(DEADLINE_S)


def test_a_job_of_a_client_that_is_closed_fails_with_words() -> None:
    message = MessageHandle("m-1")

    async def wait() -> None:
        waiting = asyncio.create_task(async_client.AsyncHandle(Handle(message, 0, "hi")).result(DEADLINE_S))
        await asyncio.sleep(0)
        message.future.cancel()
        await waiting

    with pytest.raises(errors.ResultTimeoutError, match="m-1 was given up, or the client was closed"):
        asyncio.run(wait())


def test_a_task_that_is_cancelled_while_it_waits_ends_as_asyncio_wants() -> None:
    message = MessageHandle("m-1")

    async def wait() -> None:
        waiting = asyncio.create_task(async_client.AsyncHandle(Handle(message, 0, "hi")).result(DEADLINE_S))
        await asyncio.sleep(0)
        waiting.cancel()
        await waiting

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(wait())
    assert not message.future.cancelled()
