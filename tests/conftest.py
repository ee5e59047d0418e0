"""Fixtures that several kinds of tests share."""

from collections.abc import Iterator

import pytest

from tests.support import reaper
from tests.support.redis_server import RedisServer

# Before anything is started, also by pytest-xdist.
reaper.watch()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One real redis-server for the whole run."""
    with RedisServer.start() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of the real server, emptied."""
    redis_server.flush()
    return redis_server.url
