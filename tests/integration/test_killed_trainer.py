"""The real trainer, killed at any moment: the registry stays as it should be, and the next run succeeds."""

import functools
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from redis import Redis

from pointsman_producer.client.client import Client
from pointsman_shared.settings import Settings
from pointsman_shared.store.training_claims import CLAIM_S
from tests.support import live_tiers, running
from tests.support.deadlines import eventually
from tests.support.default_keys import keys
from tests.support.running import Running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

KILLS = 10
TIMEOUT_S = 60
# From the start of a run; it takes about a second on an idle machine.
LATEST_S = 1.5


def trainer(deployed: Running) -> psutil.Process:
    """Give the trainer's parent process, once it has a child to train in."""
    eventually(lambda: bool(children(deployed)), "the trainer is up", TIMEOUT_S)
    return psutil.Process(deployed.deployment.pids()["trainer"])


def children(deployed: Running) -> list[psutil.Process]:
    pid = deployed.deployment.pids().get("trainer")
    try:
        return psutil.Process(pid).children() if pid else []
    except psutil.NoSuchProcess:
        return []


def kill(deployed: Running, moment: random.Random) -> None:
    """Kill the trainer's child, or the trainer with its child."""
    parent = trainer(deployed)
    victims = parent.children() if moment.random() < 0.5 else [parent, *parent.children()]
    for victim in victims:
        victim.send_signal(signal.SIGKILL)
    psutil.wait_procs(victims, TIMEOUT_S)


def check(deployed: Running) -> None:
    """Every version that the registry lists can be loaded, and the champion is the one of the history."""
    registry = deployed.registry
    versions, history = registry.versions("base"), registry.history("base")
    for version in versions:
        assert registry.load_classifier("base", version).classify(["hello there"]).intent == ["greeting"]
    champions = [entry.champion for entry in history if entry.what == "champion"]
    assert registry.champion("base") == champions[-1]
    assert set(champions) <= set(versions)


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Running]:
    extra = {"data_dir": live_tiers.write(tmp_path / "data")}
    with running.deployment(tmp_path, workers=1, extra=extra) as deployment:
        yield deployment


@pytest.fixture
def settings(deployed: Running) -> Settings:
    return deployed.settings


def test_ten_kills_of_the_trainer_leave_a_consistent_registry(
    deployed: Running, client: Client, redis: Redis
) -> None:
    moment = random.Random(23)
    claim = keys.training("base")
    for _ in range(KILLS):
        trainer(deployed)
        # A run whose trainer was killed is delivered again and may have the tier; it is killed again then.
        started = client.train("base", on_busy="join")
        eventually(
            functools.partial(lambda run: bool(redis.hget(claim, "holder")) or run.done(), started),
            "the run has started",
            TIMEOUT_S,
        )
        time.sleep(moment.uniform(0, LATEST_S))
        kill(deployed, moment)
        check(deployed)
        # The dead trainer's claim ends by itself after half a minute; this test does not wait for that.
        redis.delete(claim)
    eventually(lambda: not redis.exists(claim), "no run under way", TIMEOUT_S)
    last = client.train("base").result(TIMEOUT_S)
    check(deployed)
    assert last.promoted
    assert deployed.registry.champion("base") == last.version


def test_a_training_whose_process_was_killed_for_memory_is_taken_up_without_waiting_for_its_claim(
    deployed: Running, client: Client, redis: Redis
) -> None:
    claim = keys.training("base")
    parent = trainer(deployed)
    run = client.train("base")
    eventually(lambda: bool(redis.hget(claim, "holder")), "the run has started", TIMEOUT_S)
    holder = redis.hget(claim, "holder")
    for child in parent.children():
        child.send_signal(signal.SIGKILL)
    # The dead process's claim would hold for longer.
    eventually(lambda: run.done() or redis.hget(claim, "holder") != holder, "it goes on", CLAIM_S - 5)
    assert run.result(TIMEOUT_S).promoted


def test_a_training_whose_trainer_was_killed_is_taken_up_again_by_itself(
    deployed: Running, client: Client
) -> None:
    parent = trainer(deployed)
    run = client.train("base")
    eventually(lambda: run.progress() is not None, "the run has started", TIMEOUT_S)
    for victim in (parent, *parent.children()):
        victim.send_signal(signal.SIGKILL)
    assert run.result(3 * TIMEOUT_S).promoted
    check(deployed)
