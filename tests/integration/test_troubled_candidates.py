"""Candidates that fail in every way, in real workers: no user notices, and all of it is counted and reported."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from pointsman_producer.client.client import Client
from pointsman_producer.deployment import launcher
from pointsman_producer.diagnostics import probe
from pointsman_shared import names
from pointsman_shared.store.connection import Store
from pointsman_shared.wire import jobs
from pointsman_workers.flags.configcat import MEMO_S
from pointsman_workers.process.watched_registry import FRESH_S
from pointsman_workers.shadow.circuit_breaker import LOOK_S
from tests.integration.test_shadow_workers import shadow_flags
from tests.support import running, tiny
from tests.support.deadlines import eventually, outlast
from tests.support.default_keys import keys
from tests.support.running import Running

TIMEOUT_S = 60
FREE = jobs.User(id="free", custom={"plan": "free"})
TEXTS = [text for utterances in tiny.UTTERANCES.values() for text in utterances]
MESSAGES = 12
KILLS = 5
# What it is counted as, the first texts and those after them.
TROUBLES = {
    "raises": ("ZeroDivisionError", "paused_ZeroDivisionError"),
    "hangs": ("too_slow", "paused_too_slow"),
    "ignores its time limit": (None, "paused_process_lost"),
    "dies": (None, "paused_process_lost"),
}


@pytest.fixture(scope="module")
def troubles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("troubles") / "troubles.json"


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, troubles: Path) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launcher, "APP", "tests.support.troubled_app")
        patch.setenv("TROUBLES_FILE", str(troubles))
        with running.deployment(tmp_path_factory.mktemp("shadow")) as deployment:
            deployment.set_flags(shadow_flags(1.0))
            outlast(MEMO_S, "the flags that processes remember")
            yield deployment


def nominate(deployed: Running, troubles: Path, trouble: str) -> str:
    """Make a new version the candidate of the base tier, and have it fail."""
    version = running.keep(deployed.registry, "base", tiny.BASE_INTENTS)
    name = names.version_name("base", version)
    staged = troubles.with_suffix(".new")
    staged.write_text(json.dumps({name: trouble}))
    staged.rename(troubles)
    deployed.registry.nominate("base", version, "tests", "to see it fail")
    # A process that another test killed may have been at work on a sound version, which is paused for it.
    with Store.connect(deployed.settings) as store:
        store.delete(store.keys.shadow_trouble)
    outlast(max(FRESH_S, LOOK_S), "what processes remember of candidates")
    return name


def serve(client: Client) -> int:
    """Have users served while shadow work goes wrong; give the number of texts."""
    handles = [handle for _ in range(MESSAGES) for handle in client.submit_many(TEXTS, users=FREE)]
    lone = [client.classify(text, user=FREE, timeout_s=TIMEOUT_S) for text in TEXTS]
    outcomes = [*lone, *(handle.result(TIMEOUT_S) for handle in handles)]
    assert {(outcome.tier, outcome.model_version) for outcome in outcomes} == {("base", 1)}
    return len(outcomes)


def texts_of(client: Client, served: str, candidate: str) -> tuple[int, int]:
    pairs = {(row["served"], row["candidate"]): row for row in client.shadow.pairs()}
    row = pairs.get((served, candidate), {"texts": 0, "missed": 0})
    return row["texts"], row["missed"]


@pytest.mark.parametrize(
    "trouble",
    [
        "raises",
        "hangs",
        pytest.param("ignores its time limit", marks=pytest.mark.slow),
        pytest.param("dies", marks=pytest.mark.slow),
    ],
)
def test_a_failing_candidate_costs_users_nothing_and_is_soon_left_alone(
    deployed: Running, troubles: Path, trouble: str
) -> None:
    with Client(settings=deployed.settings) as client:
        before = texts_of(client, "base@1", "pro@1")
        candidate = nominate(deployed, troubles, trouble)
        served = serve(client)
        assert client.shadow.wait_drained(TIMEOUT_S)
        failed, shed = TROUBLES[trouble]
        missed = client.shadow.report("base@1", candidate).missed
        assert missed.texts == served
        assert missed.failed.keys() == ({failed} if failed else set())
        assert missed.shed.keys() == {shed}
        # The other comparison of the same texts misses nothing.
        assert texts_of(client, "base@1", "pro@1") == (before[0] + served, before[1])
        with Store.connect(deployed.settings) as store:
            in_trouble = probe.shadow_troubles(store)
            _, left_out = probe.shadow_counts(store, time.time())[names.pair_name("base@1", candidate)]
        assert {f"paused_{one['reason']}" for one in in_trouble if one["version"] == candidate} == {shed}
        assert sum(left_out.values()) == served


@pytest.mark.slow
def test_a_slow_candidate_is_left_alone_and_tried_again_after_its_pause(
    deployed: Running, troubles: Path
) -> None:
    with Client(settings=deployed.settings) as client, client_redis(deployed) as redis:
        candidate = nominate(deployed, troubles, "slow")
        served = serve(client)
        assert client.shadow.wait_drained(TIMEOUT_S)
        compared, missed = texts_of(client, "base@1", candidate)
        assert compared + missed == served
        assert missed > 0
        troubles.unlink()
        # Its pause is over.
        state = json.loads(redis.hget(keys.shadow_trouble, candidate) or b"{}")
        redis.hset(keys.shadow_trouble, candidate, json.dumps({**state, "until": 0}))
        outlast(max(FRESH_S, LOOK_S), "what processes remember of candidates")
        assert client.classify("hi", user=FREE, timeout_s=TIMEOUT_S).intent == "greeting"
        assert client.shadow.wait_drained(TIMEOUT_S)
        eventually(
            lambda: not redis.hexists(keys.shadow_trouble, candidate),
            "nothing is wrong with it any more",
        )
        assert texts_of(client, "base@1", candidate) == (compared + 1, missed)


@pytest.mark.slow
def test_totals_match_to_the_text_though_who_holds_texts_is_killed(deployed: Running, troubles: Path) -> None:
    with Client(settings=deployed.settings) as client, client_redis(deployed) as redis:
        before = texts_of(client, "base@1", "pro@1")
        candidate = nominate(deployed, troubles, "dawdles")
        served = serve(client)
        killed: set[int] = set()
        deadline = time.monotonic() + TIMEOUT_S
        while len(killed) < KILLS and not client.shadow.drained() and time.monotonic() < deadline:
            held = redis.zrangebyscore(keys.shadow_waiting, time.time(), "+inf", start=0, num=1)
            holder = redis.hget(keys.shadow_kept(held[0].decode()), "holder") if held else None
            pid = int(holder.split(b":")[1]) if holder else 0
            if pid and pid not in killed:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        assert killed
        assert client.shadow.wait_drained(TIMEOUT_S)
        after = texts_of(client, "base@1", "pro@1")
        assert sum(after) - sum(before) == served
        assert sum(texts_of(client, "base@1", candidate)) == served


def test_a_redis_that_refuses_shadow_work_serves_all_the_same(deployed: Running, troubles: Path) -> None:
    troubles.unlink(missing_ok=True)
    with Client(settings=deployed.settings) as client, client_redis(deployed) as redis:
        assert client.shadow.wait_drained(TIMEOUT_S)
        before = int(redis.hget(keys.stats, names.SHADOW_DROPPED) or 0)
        redis.set(keys.shadow_waiting, "not what it should be")
        try:
            assert client.classify("hi", user=FREE, timeout_s=TIMEOUT_S).intent == "greeting"
            assert int(redis.hget(keys.stats, names.SHADOW_DROPPED) or 0) == before + 1
        finally:
            redis.delete(keys.shadow_waiting)


def client_redis(deployed: Running) -> Redis:
    return Redis.from_url(deployed.settings.redis_url.get_secret_value())
