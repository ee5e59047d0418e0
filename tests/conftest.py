"""Fixtures that several kinds of tests share."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support import reaper, running
from tests.support.redis_server import RedisServer
from tests.support.running import Running

TESTS = Path(__file__).parent
# The longest come first.
ORDER = ("acceptance/test_chaos.py", "acceptance/", "integration/", "contract/", "unit/")

# Before anything is started, also by pytest-xdist.
reaper.watch()

# How long an example takes says more about the machine than about the code. .ci/run chooses the thorough profile.
hypothesis.settings.register_profile("quick", deadline=None, max_examples=25)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=100)
hypothesis.settings.load_profile("quick")


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


@pytest.fixture(scope="session")
def session_deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One deployment of tiny models for the whole run; a test takes it as `shared_deployment`.

    It has a Redis of its own, which is the oldest that is supported where its wheel can be had.
    """
    folder, extra = tmp_path_factory.mktemp("shared"), {"visibility_timeout_s": 10}
    with (
        RedisServer.start() as server,
        running.deployment(folder, redis_url=server.url, extra=extra) as deployment,
    ):
        yield deployment


@pytest.fixture(scope="module")
def shared_deployment(session_deployment: Running) -> Running:
    """The deployment of the whole run, as if it had just started: for modules whose tests leave it sound."""
    session_deployment.reset()
    return session_deployment


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that the processes that share the tests end at about the same time."""
    items.sort(key=lambda item: rank(item.path.relative_to(TESTS).as_posix()))


def rank(path: str) -> int:
    return next(place for place, beginning in enumerate(ORDER) if path.startswith(beginning))
