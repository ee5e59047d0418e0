"""Noticing workers that run and do not work."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from redis import Redis

from pointsman_producer.client.client import Client
from pointsman_producer.commands import command_line, root
from pointsman_producer.deployment.liveness import START_S, Guard
from pointsman_shared.settings import Settings
from pointsman_shared.store import heartbeat, keys
from tests.support import running
from tests.support.deadlines import eventually

NODE = "serving@here"
DEAF_S = heartbeat.DEAF_AFTER_S


class Worker:
    def __init__(self) -> None:
        self.pid: int | None = 7
        self.restarts = 0

    def restart(self) -> None:
        self.restarts += 1


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def guard(redis_url: str, worker: Worker) -> Iterator[Guard]:
    settings = Settings.from_env({"POINTSMAN_REDIS_URL": redis_url})
    guard = Guard(settings, {NODE: worker}, lambda *_: None)
    guard.look(0)
    yield guard
    guard._redis.close()


def test_a_worker_without_a_sign_of_life_is_started_again_after_a_while(guard: Guard, worker: Worker) -> None:
    guard.look(START_S)
    guard.look(START_S + DEAF_S - 1)
    assert worker.restarts == 0
    guard.look(START_S + DEAF_S)
    assert worker.restarts == 1


def test_nothing_is_started_again_while_everything_is_ended(guard: Guard, worker: Worker) -> None:
    guard.look(START_S)
    guard.rest()
    guard.look(START_S + 2 * DEAF_S)
    assert worker.restarts == 0


def test_a_worker_has_time_to_load_its_models(guard: Guard, worker: Worker) -> None:
    worker.pid = 8
    for now in range(100, 100 + int(START_S), 10):
        guard.look(now)
    assert worker.restarts == 0


def test_a_worker_that_serves_is_left_alone(guard: Guard, worker: Worker, redis: Redis) -> None:
    redis.set(keys.pulse(NODE), time.time())
    guard.look(1_000)
    guard.look(2_000)
    assert worker.restarts == 0


def test_health_is_an_exit_code(
    redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POINTSMAN_REDIS_URL", redis_url)
    assert command_line.run(root.pointsman, ["health", NODE]) == command_line.TRY_LATER
    redis.set(keys.pulse(NODE), time.time())
    assert command_line.run(root.pointsman, ["health", NODE, "--json"]) == command_line.OK
    redis.set(keys.pulse(NODE), time.time() - 3 * DEAF_S)
    assert command_line.run(root.pointsman, ["health", NODE]) == command_line.TRY_LATER


@pytest.mark.slow
def test_a_worker_that_stands_still_is_started_again_and_its_work_is_done(tmp_path: Path) -> None:
    with (
        running.deployment(tmp_path, extra={"visibility_timeout_s": 10}) as deployed,
        Client(settings=deployed.settings) as client,
    ):
        pid = deployed.deployment.pids()["serving"]
        # Its first minute is for loading; it has served, so that is over.
        deployed.deployment._guard._begun.clear()  # type: ignore[union-attr]
        eventually(lambda: client.classify("hi").intent == "greeting", "an answer")
        os.kill(pid, signal.SIGSTOP)
        message = client.submit("hi")
        eventually(
            lambda: deployed.deployment.pids().get("serving") not in {pid, None}, "another process", 120
        )
        assert message.result(60).intent == "greeting"


@pytest.mark.slow
def test_a_worker_whose_children_stand_still_is_started_again_and_its_work_is_done(tmp_path: Path) -> None:
    limits = {"visibility_timeout_s": 10}
    with (
        running.deployment(tmp_path, extra=limits) as deployed,
        Client(settings=deployed.settings) as client,
    ):
        pid = deployed.deployment.pids()["serving"]
        client.classify("hi")
        # A child that stands still within a job is ended at its time limit, which is another matter.
        with Redis.from_url(deployed.settings.redis_url.get_secret_value()) as redis:
            eventually(lambda: redis.hlen(keys.UNACKED) == 0, "every child has nothing to do")
        for child in psutil.Process(pid).children():
            child.suspend()
        # More than its children can hold, so that it asks for no others.
        waiting = [client.submit("hi") for _ in range(4)]
        eventually(
            lambda: deployed.deployment.pids().get("serving") not in {pid, None}, "another process", 120
        )
        assert {job.result(60).intent for job in waiting} == {"greeting"}
