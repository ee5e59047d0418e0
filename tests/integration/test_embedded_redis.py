"""The embedded Redis as the launcher runs it: it answers, and it remembers after it was killed."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from pointsman_producer.deployment import embedded_redis
from pointsman_producer.deployment.supervisor import Program, Supervisor
from pointsman_shared.settings import Settings
from tests.support.deadlines import eventually


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    supervisor = Supervisor(lambda *_: None, first_delay_s=0.05)
    yield supervisor
    supervisor.stop()


def test_what_was_queued_is_there_after_redis_was_killed(supervisor: Supervisor, tmp_path: Path) -> None:
    port, folder = embedded_redis.free_port(), tmp_path / "a folder"
    folder.mkdir()
    command = embedded_redis.command(
        embedded_redis.find_binary(), port=port, folder=folder, password="secret"
    )
    keeper = supervisor.start(Program(name="redis", command=command, environ=os.environ, stops_last=True))
    url = embedded_redis.url(port, "secret")
    settings = Settings.model_validate({"redis_url": url})
    embedded_redis.wait_until_it_answers(settings, alive=lambda: keeper.alive)
    assert "secret" not in " ".join(command)
    with Redis(port=port) as stranger, pytest.raises(AuthenticationError):
        stranger.ping()
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in folder.rglob("*")} == {0}
    with Redis.from_url(url) as redis:
        redis.lpush("bulk", "a job")
        # Written, if not yet synced: that is enough for a kill of the process.
        os.kill(keeper.pid or 0, 9)
        eventually(lambda: keeper.restarts == 1, "a second start")
        embedded_redis.wait_until_it_answers(settings, alive=lambda: True)
        assert redis.lrange("bulk", 0, -1) == [b"a job"]
        assert not embedded_redis.is_free(port)
