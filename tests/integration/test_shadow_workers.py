"""Shadowing by real workers: everything counted once, and nothing that goes wrong reaches a user."""

import random
from collections.abc import Iterator

import psutil
import pytest
from redis import Redis

from pointsman_producer.client.client import Client, new_id
from pointsman_producer.client.users import checked_request
from pointsman_producer.diagnostics import probe
from pointsman_shared import errors, names
from pointsman_shared.store.connection import Store
from pointsman_shared.wire import jobs
from pointsman_workers.flags.configcat import MEMO_S
from pointsman_workers.process.watched_registry import FRESH_S
from tests.support import flag_config, running, tiny
from tests.support.deadlines import eventually, outlast
from tests.support.default_keys import keys
from tests.support.running import Running

TIMEOUT_S = 60
FREE = jobs.User(id="free", custom={"plan": "free"})
PRO = jobs.User(id="pro", custom={"plan": "pro"})
TEXTS = [text for utterances in tiny.UTTERANCES.values() for text in utterances]


def shadow_flags(rate: float) -> dict[str, object]:
    document = flag_config.plan_flag(flag_config.TIER_FLAG, "pro")
    document["f"][names.SHADOW_FLAG] = flag_config.flag(rate)
    return document


@pytest.fixture(scope="module")
def deployed(shared_deployment: Running) -> Running:
    shared_deployment.set_flags(shadow_flags(1.0))
    outlast(MEMO_S, "the flags that processes remember")
    return shared_deployment


@pytest.fixture
def client(deployed: Running) -> Iterator[Client]:
    """Give a client of a deployment that has compared nothing yet."""
    with Client(settings=deployed.settings) as client, Redis.from_url(redis_url(deployed)) as redis:
        assert client.shadow.wait_drained(TIMEOUT_S)
        for key in redis.scan_iter(keys.prefix + "shadow:*"):
            redis.delete(key)
        yield client


def redis_url(deployed: Running) -> str:
    return deployed.settings.redis_url.get_secret_value()


def counted(client: Client) -> dict[str, tuple[int, int]]:
    return {
        names.pair_name(row["served"], row["candidate"]): (row["texts"], row["missed"])
        for row in client.shadow.pairs()
    }


def test_each_text_is_compared_once_however_often_it_is_delivered(client: Client, deployed: Running) -> None:
    message_id = new_id()
    request = checked_request(TEXTS, [PRO, *[FREE] * (len(TEXTS) - 1)])
    for _ in range(3):
        client.submit_message(request, message_id=message_id).result(TIMEOUT_S)
    assert client.shadow.wait_drained(TIMEOUT_S)
    assert counted(client) == {"pro@1 vs base@1": (1, 0), "base@1 vs pro@1": (len(TEXTS) - 1, 0)}
    with Redis.from_url(redis_url(deployed)) as redis:
        left = list(redis.scan_iter(keys.shadow_kept("*")))
        assert (left, redis.get(keys.shadow_bytes)) == ([], None)


def test_drawn_labels_decide_and_chosen_ones_are_set_aside(client: Client) -> None:
    handles = client.submit_many(TEXTS * 20, users=FREE)
    for handle in handles:
        handle.result(TIMEOUT_S)
    assert client.shadow.wait_drained(TIMEOUT_S)
    report = client.shadow.report("base@1", "pro@1")
    assert report.disagreements
    assert report.attributes[0].value == "free"
    chosen = report.disagreements[-1]
    client.shadow.label(chosen.job_id, chosen.candidate, "a customer")
    drawn = client.shadow.label_queue("base@1", "pro@1", limit=30)
    assert [row["agreed"] for row in drawn] == [False] * 30
    client.shadow.label_many([{"job_id": row["job_id"], "label": row["candidate"]} for row in drawn])
    report = client.shadow.report("base@1", "pro@1")
    assert report.verdict is not None
    assert (report.verdict.wins, report.verdict.decision) == (30, "better")
    assert report.accuracy is not None
    assert report.accuracy.set_aside == 1
    rows = client.shadow.labels("base@1", "pro@1")
    assert [(row["by"], row["drawn"]) for row in rows[:2]] == [("a customer", False), ("anonymous", True)]
    with pytest.raises(errors.InvalidMessageError, match="job id"):
        client.shadow.label("nonsense", "greeting")


def test_a_file_is_compared_by_workers_and_nothing_of_it_is_kept(client: Client) -> None:
    texts = TEXTS * 30
    report = client.shadow.compare("base@1", "pro@1", texts, ["greeting"] * len(texts))
    assert report.agreement is not None
    assert report.agreement.texts == len(texts)
    assert {flow.candidate for flow in report.flows} == {"payment_methods"}
    assert client.shadow.pairs() == []
    with pytest.raises(errors.InvalidDataError, match="nothing was compared"):
        client.shadow.report("base@1", "pro@1")


def test_a_broken_candidate_costs_users_nothing_and_is_reported(client: Client, deployed: Running) -> None:
    registry = deployed.registry
    broken = running.keep(registry, "base", tiny.BASE_INTENTS)
    registry.nominate("base", broken, "tests", "to see it fail")
    folder = deployed.settings.registry_url
    with open(f"{folder}/{'base'}/{broken}/model.npz", "wb") as file:
        file.write(b"no model")
    outlast(FRESH_S, "the aliases that processes remember")
    outcomes = [handle.result(TIMEOUT_S) for handle in client.submit_many(TEXTS, users=FREE)]
    assert {outcome.model_version for outcome in outcomes} == {1}
    assert client.shadow.wait_drained(TIMEOUT_S)
    assert counted(client) == {
        "base@1 vs pro@1": (len(TEXTS), 0),
        f"base@1 vs base@{broken}": (0, len(TEXTS)),
    }
    missed = client.shadow.report("base@1", f"base@{broken}").missed
    # On a slow machine the message is done in several parts, and the candidate is left alone after the first.
    assert missed.failed.keys() == {"not_loaded"}
    assert missed.shed.keys() <= {"paused_not_loaded"}
    with Store.connect(deployed.settings) as store:
        eventually(
            lambda: any(
                f"base@{broken}" in problem for one in probe.processes(store) for problem in one["problems"]
            ),
            "a process says so to the doctor",
            20,
        )
    registry.nominate("base", 1, "tests", "to have it over")
    outlast(FRESH_S, "the aliases that processes remember")


@pytest.mark.slow
@pytest.mark.parametrize("texts", [3_900, 20_020])
def test_totals_match_to_the_text_while_workers_are_killed(
    client: Client, deployed: Running, texts: int
) -> None:
    chance = random.Random(11)
    parent = psutil.Process(deployed.deployment.pids()["serving"])
    some = TEXTS * (texts // len(TEXTS))
    handles = client.submit_many(some, users=FREE)
    killed = 0
    while killed < 3 or (killed < 12 and not (handles[-1].done() and client.shadow.drained())):
        children = parent.children(recursive=True)
        if children:
            chance.choice(children).kill()
            killed += 1
        outlast(chance.uniform(0.3, 0.9), "a while in which work is done")
    assert len([handle.result(TIMEOUT_S) for handle in handles]) == texts
    eventually(client.shadow.drained, "the shadow queue is empty", TIMEOUT_S)
    assert client.shadow.wait_drained(TIMEOUT_S)
    assert sum(sum(found) for found in counted(client).values()) == texts
