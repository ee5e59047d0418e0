"""Noticing workers that run and do not work."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from redis import Redis

from pointsman_producer.client import single_try
from pointsman_producer.client.client import Client
from pointsman_producer.commands import command_line, root
from pointsman_producer.deployment import launcher, supervisor
from pointsman_producer.deployment.supervisor import Program, Supervisor
from pointsman_shared.settings import Settings
from pointsman_shared.store import heartbeat
from pointsman_shared.store.connection import Store
from tests.support import running
from tests.support.deadlines import eventually
from tests.support.default_keys import keys
from tests.support.running import Running

NODE = "serving@here"
SLEEP = Program(name="one", command=("sleep", "1000"), environ=os.environ)
LOADING_S, DEAF_S = 0.2, 0.3


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    with Store.connect(Settings.from_env({"POINTSMAN_REDIS_URL": redis_url})) as store:
        yield store


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def impatient(said: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """Supervise with less patience."""
    monkeypatch.setattr(supervisor, "ASK_S", 0.01)
    monkeypatch.setattr(supervisor, "START_S", LOADING_S)
    monkeypatch.setattr(heartbeat, "DEAF_AFTER_S", DEAF_S)
    impatient = Supervisor(lambda _, line: said.append(line), first_delay_s=0.01)
    yield impatient
    impatient.kill()
    impatient.stop()


def test_a_program_that_is_unwell_for_long_is_killed_and_started_again(
    impatient: Supervisor, said: list[str]
) -> None:
    began = time.monotonic()
    keeper = impatient.start(SLEEP, is_well=lambda: False)
    pid = keeper.pid
    eventually(lambda: keeper.restarts == 1 and keeper.pid not in {pid, None}, "another process")
    assert time.monotonic() - began >= LOADING_S + DEAF_S
    assert said[0].startswith("WARNING does not hear from its queues")


def test_each_process_has_time_to_load_its_models(impatient: Supervisor) -> None:
    keeper = impatient.start(SLEEP, is_well=lambda: False)
    eventually(lambda: keeper.restarts == 1, "a second process")
    began = time.monotonic()
    eventually(lambda: keeper.restarts == 2, "a third process")
    assert time.monotonic() - began >= LOADING_S


def test_a_program_that_is_well_now_and_then_is_left_alone(impatient: Supervisor) -> None:
    asked: list[float] = []

    def is_well() -> bool:
        asked.append(time.monotonic())
        return len(asked) % 3 == 0

    keeper = impatient.start(SLEEP, is_well)
    eventually(lambda: bool(asked) and asked[-1] - asked[0] > 2 * (LOADING_S + DEAF_S), "many questions")
    assert keeper.restarts == 0


def test_nothing_is_started_again_while_everything_is_ended(impatient: Supervisor, said: list[str]) -> None:
    keeper = impatient.start(SLEEP, is_well=lambda: False)
    impatient.stop()
    time.sleep(LOADING_S + 2 * DEAF_S)
    assert (keeper.restarts, said) == (0, [])


def test_a_worker_that_hears_from_its_queues_is_well(store: Store, redis: Redis) -> None:
    assert not launcher.is_well(store, NODE)
    redis.set(keys.pulse(NODE), time.time())
    assert launcher.is_well(store, NODE)


def test_a_worker_is_not_blamed_for_a_redis_that_is_away() -> None:
    settings = Settings.from_env({"POINTSMAN_REDIS_URL": "redis://127.0.0.1:1/0"})
    with single_try.connect(settings) as store:
        assert launcher.is_well(store, NODE)


def test_health_is_an_exit_code(
    redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POINTSMAN_REDIS_URL", redis_url)
    assert command_line.run(root.pointsman, ["health", NODE]) == command_line.TRY_LATER
    redis.set(keys.pulse(NODE), time.time())
    assert command_line.run(root.pointsman, ["health", NODE, "--json"]) == command_line.OK
    redis.set(keys.pulse(NODE), time.time() - 3 * heartbeat.DEAF_AFTER_S)
    assert command_line.run(root.pointsman, ["health", NODE]) == command_line.TRY_LATER


@pytest.mark.slow
def test_a_worker_that_is_hung_up_starts_itself_again(shared_deployment: Running) -> None:
    def serving() -> psutil.Process:
        return psutil.Process(shared_deployment.deployment.pids()["serving"])

    before, children = serving(), serving().children()
    before.send_signal(signal.SIGHUP)
    eventually(lambda: not any(child.is_running() for child in children), "the old children have ended", 60)
    with Client(settings=shared_deployment.settings) as client:
        assert client.classify("hi", timeout_s=60).intent == "greeting"
    assert serving() == before


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
