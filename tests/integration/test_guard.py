"""Noticing workers that run and do not work."""

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from redis import Redis

from pointsman_producer.client import single_try
from pointsman_producer.client.client import Client
from pointsman_producer.commands import command_line, root
from pointsman_producer.deployment import liveness
from pointsman_producer.deployment.liveness import START_S, Liveness
from pointsman_producer.deployment.supervisor import Program, Supervisor
from pointsman_shared.settings import Settings
from pointsman_shared.store import heartbeat
from pointsman_shared.store.connection import Store
from tests.support import running
from tests.support.deadlines import eventually
from tests.support.default_keys import keys

NODE = "serving@here"
SLEEP = Program(name="one", command=("sleep", "1000"), environ=os.environ)
DEAF_S = heartbeat.DEAF_AFTER_S


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def guard(redis_url: str) -> Iterator[Liveness]:
    with Store.connect(Settings.from_env({"POINTSMAN_REDIS_URL": redis_url})) as store:
        guard = Liveness(partial(liveness.is_serving, store, NODE))
        guard.started(0)
        yield guard


def test_a_worker_without_a_sign_of_life_is_started_again_after_a_while(guard: Liveness) -> None:
    assert not guard.is_deaf(START_S)
    assert not guard.is_deaf(START_S + DEAF_S - 1)
    assert guard.is_deaf(START_S + DEAF_S)


def test_a_program_that_is_unwell_for_long_is_killed_and_started_again() -> None:
    said: list[str] = []
    supervisor = Supervisor(lambda _, line: said.append(line), first_delay_s=0.01)
    keeper = supervisor.start(SLEEP, is_well=lambda: False)
    pid, now = keeper.pid, time.monotonic()
    supervisor.look(now + START_S + 1)
    supervisor.look(now + START_S + 1 + DEAF_S)
    eventually(lambda: keeper.restarts == 1 and keeper.pid not in {pid, None}, "another process")
    supervisor.stop()
    assert said[0].startswith("WARNING does not hear from its queues")


def test_nothing_is_started_again_while_everything_is_ended() -> None:
    said: list[str] = []
    supervisor = Supervisor(lambda _, line: said.append(line), first_delay_s=0.01)
    keeper = supervisor.start(SLEEP, is_well=lambda: False)
    now = time.monotonic()
    supervisor.stop()
    supervisor.look(now + START_S + 1)
    supervisor.look(now + START_S + 1 + 2 * DEAF_S)
    assert (keeper.restarts, said) == (0, [])


def test_a_worker_has_time_to_load_its_models(guard: Liveness) -> None:
    guard.is_deaf(START_S)
    guard.started(100)
    assert not any(guard.is_deaf(now) for now in range(100, 100 + int(START_S), 10))


def test_a_worker_that_serves_is_left_alone(guard: Liveness, redis: Redis) -> None:
    redis.set(keys.pulse(NODE), time.time())
    assert not guard.is_deaf(1_000)
    assert not guard.is_deaf(2_000)


def test_a_worker_is_not_blamed_for_a_redis_that_is_away() -> None:
    settings = Settings.from_env({"POINTSMAN_REDIS_URL": "redis://127.0.0.1:1/0"})
    with single_try.connect(settings) as store:
        assert liveness.is_serving(store, NODE)


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
        eventually(lambda: client.classify("hi").intent == "greeting", "an answer")
        os.kill(pid, signal.SIGSTOP)
        message = client.submit("hi")
        eventually(
            lambda: deployed.deployment.pids().get("serving") not in {pid, None}, "another process", 120
        )
        assert message.result(60).intent == "greeting"


@pytest.mark.slow
def test_a_worker_whose_children_stand_still_is_started_again_and_its_work_is_done(tmp_path: Path) -> None:
    with (
        running.deployment(tmp_path, extra={"visibility_timeout_s": 10}) as deployed,
        Client(settings=deployed.settings) as client,
    ):
        pid = deployed.deployment.pids()["serving"]
        client.classify("hi")
        # A child that stands still within a job is ended at its time limit, which is another matter.
        with Redis.from_url(deployed.settings.redis_url.get_secret_value()) as redis:
            eventually(lambda: redis.hlen(keys.unacked) == 0, "every child has nothing to do")
        for child in psutil.Process(pid).children():
            child.suspend()
        # More than its children can hold, so that it asks for no others.
        waiting = [client.submit("hi") for _ in range(4)]
        eventually(
            lambda: deployed.deployment.pids().get("serving") not in {pid, None}, "another process", 120
        )
        assert {job.result(60).intent for job in waiting} == {"greeting"}
