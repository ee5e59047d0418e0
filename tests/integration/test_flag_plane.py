"""The flag plane over process borders: a CDN, a worker's parent that polls it, and its forked children."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pointsman_shared import settings
from pointsman_shared.broker import config as broker_config
from pointsman_shared.wire import jobs
from tests.support import cdn, deadlines, flag_config
from tests.support.redis_server import RedisServer

ROOT = Path(__file__).parents[2]
CHILDREN = 2
START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 20.0
PRO = flag_config.plan_flag("proModel", "pro")
NO_PLAN = flag_config.plan_flag("proModel", "no such plan")


class Worker:
    """A running Celery worker whose children evaluate flags."""

    def __init__(self, configuration: settings.Settings, process: subprocess.Popen[bytes]) -> None:
        self._app = broker_config.make_app(configuration)
        self.process = process

    def answers(self) -> dict[int, dict[str, Any]]:
        """Ask for the decision about a user on the plan "pro" until every child has answered; by process."""
        answers: dict[int, dict[str, Any]] = {}

        def ask() -> bool:
            handles = [self._app.send_task("test.decide", ["pro"]) for _ in range(2 * CHILDREN)]
            # A child that was just killed may have taken a message along: that one gives an error.
            replies = [handle.get(timeout=START_DEADLINE_S, propagate=False) for handle in handles]
            answers.update({reply["pid"]: reply for reply in replies if isinstance(reply, dict)})
            return len(answers) >= CHILDREN

        deadlines.eventually(ask, f"answers of {CHILDREN} children", START_DEADLINE_S)
        return answers

    def decisions(self) -> set[jobs.FlagDecision]:
        """Give the distinct decisions of the children."""
        return {jobs.FlagDecision.model_validate(answer["decision"]) for answer in self.answers().values()}

    def wait_until_all_decide(self, value: bool, etag: str) -> None:
        def agreed() -> bool:
            return {(decision.value, decision.etag) for decision in self.decisions()} == {(value, etag)}

        deadlines.eventually(agreed, f"every child decides {value} by {etag}")

    def close(self) -> None:
        self._app.close()


@contextmanager
def running_worker(redis_server: RedisServer, server: cdn.Cdn, log: Path) -> Iterator[Worker]:
    configuration = settings.Settings.model_validate(
        {
            "redis_url": redis_server.url,
            "configcat_sdk_key": server.sdk_key,
            "configcat_base_url": server.url,
            "configcat_poll_interval_s": 1,
        }
    )
    command = [
        sys.executable,
        "-m",
        "celery",
        "--app",
        "tests.support.flag_worker",
        "worker",
        "--loglevel",
        "DEBUG",
    ]
    command += ["--pool", "prefork", "--concurrency", str(CHILDREN), "--without-gossip", "--without-mingle"]
    environment = {**os.environ, **configuration.environ(), "PYTHONPATH": str(ROOT)}
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    worker = Worker(configuration, process)
    try:
        yield worker
    finally:
        worker.close()
        process.terminate()
        try:
            process.wait(STOP_DEADLINE_S)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worker") / "worker.log"


@pytest.fixture(scope="module")
def plane(log: Path) -> Iterator[tuple[cdn.Cdn, Worker]]:
    """One CDN, one Redis and one worker for all tests that can share them."""
    with (
        RedisServer.start() as redis_server,
        cdn.Cdn(PRO) as server,
        running_worker(redis_server, server, log) as worker,
    ):
        yield server, worker


def publish(server: cdn.Cdn, worker: Worker, config: dict[str, Any], value: bool) -> None:
    server.set_config(config)
    worker.wait_until_all_decide(value, server.etag)


def test_a_flip_reaches_every_child_without_a_restart(plane: tuple[cdn.Cdn, Worker]) -> None:
    server, worker = plane
    publish(server, worker, PRO, value=True)
    before = set(worker.answers())
    publish(server, worker, NO_PLAN, value=False)
    publish(server, worker, PRO, value=True)
    assert set(worker.answers()) == before
    (decision,) = worker.decisions()
    assert (decision.reason, decision.variation_id) == ("targeting_rule", "plans")


@pytest.mark.parametrize("fault", [cdn.Fault.SERVER_ERROR, cdn.Fault.HANG, cdn.Fault.GARBAGE])
def test_the_last_configuration_serves_while_the_cdn_fails(
    plane: tuple[cdn.Cdn, Worker], fault: cdn.Fault
) -> None:
    server, worker = plane
    publish(server, worker, PRO, value=True)
    known = server.etag
    server.break_with(fault)
    server.set_config(NO_PLAN)
    server.wait_for_requests(2)
    worker.wait_until_all_decide(True, known)
    server.heal()
    worker.wait_until_all_decide(False, server.etag)


def test_only_the_parent_asks_the_cdn(plane: tuple[cdn.Cdn, Worker]) -> None:
    server, worker = plane
    publish(server, worker, PRO, value=True)
    server.wait_for_requests(2)
    assert all(answer["threads"] == ["MainThread"] for answer in worker.answers().values())
    # A client tells its polling mode: "a" for the parent's automatic one; the children's is "m" for manual.
    assert {request.user_agent.rpartition("-")[0] for request in server.requests} == {"ConfigCat-Python/a"}
    # A child's client has a key of its own, so it would be seen at another path.
    assert {request.path for request in server.requests} == {
        f"/configuration-files/{server.sdk_key}/config_v6.json"
    }


def test_an_unchanged_configuration_is_not_sent_again(plane: tuple[cdn.Cdn, Worker]) -> None:
    server, worker = plane
    publish(server, worker, PRO, value=True)
    server.wait_for(lambda requests: [request.status for request in requests[:2]] == [304, 304])
    assert server.requests[-1].if_none_match == server.etag


def test_a_child_forked_while_the_parent_polls_serves_too(plane: tuple[cdn.Cdn, Worker]) -> None:
    server, worker = plane
    publish(server, worker, PRO, value=True)
    victim = next(iter(worker.answers()))
    os.kill(victim, signal.SIGKILL)
    deadlines.eventually(
        lambda: victim not in worker.answers(), "another child in the place of the killed one"
    )
    publish(server, worker, NO_PLAN, value=False)


def test_the_workers_log_holds_neither_the_sdk_key_nor_an_evaluation(
    plane: tuple[cdn.Cdn, Worker], log: Path
) -> None:
    server, worker = plane
    server.break_with(cdn.Fault.CLOSE)
    server.wait_for_requests(2)
    server.heal()
    publish(server, worker, NO_PLAN, value=False)
    written = log.read_text()
    assert "test.decide" in written
    assert "Unexpected error occurred while trying to fetch config JSON" in written
    assert server.sdk_key.rpartition("/")[2] not in written
    assert "Evaluating" not in written


def test_a_restart_while_the_cdn_is_away_serves_what_was_known(tmp_path: Path) -> None:
    with RedisServer.start() as redis_server, cdn.Cdn(PRO) as server:
        with running_worker(redis_server, server, tmp_path / "first.log") as worker:
            worker.wait_until_all_decide(True, server.etag)
        server.break_with(cdn.Fault.CLOSE)
        with running_worker(redis_server, server, tmp_path / "second.log") as worker:
            worker.wait_until_all_decide(True, server.etag)
