"""Ending the real processes while they work: within 10 seconds, and nothing is lost or counted twice."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pointsman_models.registry.versions import Registry
from pointsman_producer.client.client import Client
from pointsman_producer.client.handles import payload
from pointsman_producer.client.users import checked_request
from tests.acceptance.test_local_deployment import Up, environ, furnish
from tests.support.deadlines import eventually
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.slow

ENDS_WITHIN_S = 10
DEADLINE_S = 120
MESSAGES, TEXTS = 300, ["hi", "bye", "do you take paypal"] * 100
PROGRAMS = {
    "serving": ["pointsman_workers.app", "worker", "-nserving@here", "-c2", "-lINFO"],
    "trainer": ["pointsman_workers.trainer", "worker", "-ntrainer@here", "-c1", "-lINFO"],
    "beat": ["pointsman_workers.app", "beat", "--schedule=schedule", "--max-interval=5", "-lINFO"],
}


@pytest.mark.parametrize(
    "presses", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT, signal.SIGINT]], ids=str
)
def test_a_deployment_that_is_ended_while_it_works_goes_on_where_it_stopped(
    tmp_path: Path, presses: list[signal.Signals]
) -> None:
    up = Up(furnish(tmp_path))
    with Client(up.redis_url) as client:
        run = client.train("base")
        for number in range(MESSAGES):
            client.submit_message(checked_request(TEXTS, [None] * len(TEXTS), "b"), message_id=f"m-{number}")
        eventually(lambda: run.progress() is not None and client.progress("b") != {}, "work is under way")
    family = up.family()
    for number in presses:
        up.process.send_signal(number)
        # Two signals at once would be one.
        eventually(lambda: any(line.startswith("stopping") for line in list(up.lines)), "it was heard")
    assert up.process.wait(ENDS_WITHIN_S) == (0 if len(presses) == 1 else 130)
    eventually(lambda: not any(process.is_running() for process in family), "all processes have ended")

    up = Up(tmp_path, up.redis_port)
    try:
        with Client(up.redis_url) as client:
            done = len(TEXTS) * MESSAGES
            eventually(lambda: client.progress("b").get("done") == done, "all texts are done", DEADLINE_S)
            assert sum(client.progress("b").values()) == 2 * done
            if len(presses) == 1:
                _is_trained_once(client, run.id, tmp_path)
    finally:
        up.stop()


def _is_trained_once(client: Client, run: str, folder: Path) -> None:
    def stored() -> bytes:
        return client._inbox.fetch(run) or b""

    eventually(lambda: b'"SUCCESS"' in stored()[:40], "the training is done", DEADLINE_S)
    version = payload(stored())["version"]
    registry = Registry(str(folder / "models" / "registry"))
    assert registry.versions("base") == [1, version]


@contextlib.contextmanager
def program(name: str, folder: Path, redis: RedisServer) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("celery"), "-A", *PROGRAMS[name]],
            cwd=folder,
            env={**environ(), "POINTSMAN_REDIS_URL": redis.url, "REMAP_SIGTERM": "SIGQUIT"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("outage", ["pause", "kill"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_process_that_is_asked_to_end_while_redis_is_away_ends(
    tmp_path: Path, name: str, outage: str
) -> None:
    furnish(tmp_path)
    with RedisServer.start() as redis, program(name, tmp_path, redis) as process:
        ready = {"beat": "beat: Starting"}.get(name, f"{name}@here ready")
        log = tmp_path / "log"
        eventually(lambda: ready in log.read_text(errors="replace"), "it is ready", DEADLINE_S)
        children = psutil.Process(process.pid).children(recursive=True)
        getattr(redis, outage)()
        process.terminate()
        process.wait(ENDS_WITHIN_S)
        eventually(lambda: not any(child.is_running() for child in children), "its children have ended")
