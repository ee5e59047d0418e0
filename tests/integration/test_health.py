"""The doctor's probe against a real Redis."""

import json
import time
from collections.abc import Iterator

import pytest
from celery import Celery
from redis import Redis

from pointsman_producer.diagnostics import checks, examination, probe
from pointsman_producer.diagnostics.findings import Finding, Remedy
from pointsman_shared import errors, names
from pointsman_shared.settings import Settings
from pointsman_shared.store import dead_letters
from pointsman_shared.store.connection import Store
from tests.support.default_keys import BULK, keys
from tests.support.ledgers import open_letters


@pytest.fixture
def redis(settings: Settings) -> Iterator[Store]:
    with Store.connect(settings) as store:
        yield store


def enter(redis: Store, message_id: str, *, waited_s: float) -> None:
    """Put a message on the bulk queue, as if it had waited there."""
    redis.lpush(BULK, json.dumps({"body": "b", "headers": {"id": message_id}}))
    redis.hset(keys.open(message_id), "at", redis.now() - waited_s)


def test_the_server_says_its_version_and_policy(redis: Store) -> None:
    first, *others = checks.redis(redis.info(), "here")
    assert first.detail.removeprefix("version ")[0].isdigit()
    assert not [finding for finding in others if "maxmemory-policy" in finding.detail]


def test_a_redis_that_refuses_us_is_not_taken_for_one_that_is_away(redis_url: str) -> None:
    for url in (redis_url.replace("redis://", "redis://nobody:secret@"), redis_url.removesuffix("0") + "99"):
        *_, found = examination.examine(Settings.model_validate({"redis_url": url}), "here")
        assert found.detail.startswith("refuses us at here: ")
        assert found.remedy is Remedy.CHECK_URL


def test_a_redis_whose_info_is_hidden_is_examined_all_the_same(redis: Store, redis_url: str) -> None:
    with Redis.from_url(redis_url) as administrator:
        administrator.acl_setuser("shy", enabled=True, nopass=True, commands=["+@all", "-info"], keys=["*"])
        try:
            settings = Settings.model_validate({"redis_url": redis_url.replace("redis://", "redis://shy:x@")})
            with Store.connect(settings) as store:
                assert probe.server(store) == {}
        finally:
            administrator.acl_deluser("shy")


def test_a_deployment_without_workers_is_examined_to_the_end(settings: Settings, redis: Store) -> None:
    enter(redis, "m", waited_s=1_000)
    redis.zadd(keys.shadow_waiting, {"m1": 1.0})
    redis.hset(keys.shadow_kept("m1"), "served_at", time.time() - 1_000)
    found = list(examination.examine(settings, "here"))
    assert problems(found) == {"worker", "models"}
    assert {finding.what for finding in found if finding.status == "warning"} >= {"queue bulk", "shadow"}


def test_messages_in_the_wrong_queue_are_found_among_those_of_others(
    redis: Store, settings: Settings
) -> None:
    with Celery(broker=settings.redis_url.get_secret_value()) as app:
        for _ in range(2):
            app.send_task(names.CLASSIFY_TASK, args=({"texts": ["hi"]},))
        app.send_task("another.task")
        app.send_task(names.TRAIN_TASK, queue="train")
        app.send_task(names.CLASSIFY_TASK, args=({"texts": ["hi"]},), queue=keys.queue("nope"))
        app.send_task(names.CLASSIFY_TASK, args=({"texts": ["hi"]},), queue=BULK)
    redis.set("bulk", "of another application")
    assert probe.strays(redis) == {"celery": 2, "train": 1, keys.queue("nope"): 1}
    warned = {
        finding.what for finding in examination.examine(settings, "here") if finding.status == "warning"
    }
    assert {"queue celery", "queue train"} <= warned


def test_dead_letters_are_counted_and_the_latest_one_is_described(redis: Store, settings: Settings) -> None:
    letters = open_letters(settings)
    for reason, age_s in ((dead_letters.MALFORMED, 330), (dead_letters.POISON, 300)):
        letter = dead_letters.DeadLetter(
            id=reason, reason=reason, error="e", detail="d", queue="", died_at=redis.now() - age_s
        )
        letters.bury(letter)
    (found,) = [
        finding for finding in examination.examine(settings, "here") if finding.what == "dead letters"
    ]
    assert (found.status, found.detail) == ("warning", "2, the latest 5 min ago (poison)")


def problems(found: list[Finding]) -> set[str]:
    return {finding.what for finding in found if finding.status == "problem"}


def test_a_broker_that_takes_no_question_is_a_problem_and_the_rest_is_examined(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Settings) -> None:
        msg = "the broker takes no question"
        raise errors.BrokerUnavailableError(msg)

    monkeypatch.setattr(probe, "consumers", refuse)
    found = list(examination.examine(settings, "here"))
    assert "no worker can be asked: the broker takes no question" in [finding.detail for finding in found]
    assert {finding.what for finding in found} >= {"redis", "queue bulk", "models"}


def test_a_queue_is_as_old_as_the_message_that_is_taken_next(redis: Store) -> None:
    enter(redis, "first", waited_s=500)
    enter(redis, "second", waited_s=200)
    reports = probe.queues(redis)
    length, age_s = reports["bulk"]
    assert length == 2
    assert age_s is not None
    assert 499 <= age_s <= 505
    assert reports["train"] == (0, None)


def test_shadow_work_that_could_not_even_be_counted_is_reported(settings: Settings, redis: Store) -> None:
    assert probe.shadow_uncounted(redis) == [0, 0]
    redis.hset(keys.stats, names.SHADOW_DROPPED, 3)
    assert probe.shadow_uncounted(redis) == [3, 0]
    assert "3 messages could not even be counted" in "".join(
        finding.detail for finding in examination.examine(settings, "here")
    )


def test_messages_under_way_are_counted_for_serving_and_training(redis: Store) -> None:
    redis.hset(keys.unacked, "one", "x")
    redis.hset(keys.train_unacked, "two", "x")
    assert probe.in_flight(redis) == 2


def test_processes_are_read_wherever_they_are(redis: Store) -> None:
    said = {"tiers": "{}", "flags": "{}", "problems": "[]", "versions": "{}"}
    for host, pid in (("b", 2), ("a", 1)):
        key = keys.process(host, pid)
        redis.hset(key, mapping={"host": host, "pid": pid, "updated_at": time.time()})
        for field, value in said.items():
            redis.hset(key, field, value)
    assert [(report["host"], report["pid"]) for report in probe.processes(redis)] == [("a", 1), ("b", 2)]


def test_without_workers_a_queue_has_no_consumer(settings: Settings) -> None:
    assert probe.consumers(settings) == {}
