"""Lost messages on a real Redis: found by the ledger, published again, and only those."""

import json
import time
from collections.abc import Iterator

import pytest
from celery import Celery
from redis import Redis

from pointsman_producer.client.client import Client
from pointsman_producer.client.users import checked_request
from pointsman_shared import names
from pointsman_shared.broker import config as broker_config
from pointsman_shared.settings import Settings
from pointsman_shared.store.connection import Store
from pointsman_shared.store.training_claims import MINE, TrainingClaims
from pointsman_workers.delivery import reconciler
from pointsman_workers.delivery.in_flight import InFlight
from tests.support.deadlines import eventually
from tests.support.default_keys import BULK, TRAIN, keys
from tests.support.ledgers import open_in_flight, open_ledger

NO_GRACE = {"": -1.0, TRAIN: 100.0}


@pytest.fixture
def messages(settings: Settings) -> Iterator[InFlight]:
    messages = open_in_flight(settings)
    yield messages
    messages.store.close()


def submit(client: Client, count: int) -> list[str]:
    request = checked_request(["x" * 5_000], [None])
    return [client.submit_message(request, message_id=f"m-{number}").id for number in range(count)]


def reconcile(messages: InFlight) -> list[str]:
    return reconciler.reconcile(messages, NO_GRACE, lambda _: None)


def test_only_what_was_lost_is_published_again_and_is_the_next_to_be_taken(
    client: Client, redis: Redis, messages: InFlight
) -> None:
    ids = submit(client, 250)
    lost = redis.rpop(BULK)
    assert reconcile(messages) == ids[:1]
    again = json.loads(redis.lindex(BULK, -1))  # type: ignore[arg-type]
    before = json.loads(lost)  # type: ignore[arg-type]
    assert again["properties"].pop("delivery_tag") != before["properties"].pop("delivery_tag")
    assert again == before
    assert reconcile(messages) == []
    assert redis.llen(BULK) == 250
    assert redis.hget(keys.stats, "republished") == b"1"


@pytest.mark.parametrize("odd", ["größer 😀", '"quoted"', "back\\slash", "\u2028"])
def test_what_waits_under_an_odd_id_is_not_lost(
    client: Client, redis: Redis, messages: InFlight, odd: str
) -> None:
    client.submit_message(checked_request(["hi"], [None]), message_id=odd)
    for _ in range(3):
        assert reconcile(messages) == []
    raw = redis.rpop(BULK)
    assert redis.llen(BULK) == 0
    redis.hset(keys.unacked, "tag", json.dumps([json.loads(raw), "", BULK]))  # type: ignore[arg-type]
    assert reconcile(messages) == []
    redis.delete(keys.unacked)
    assert reconcile(messages) == [odd]


def test_what_a_worker_has_taken_is_not_lost(client: Client, redis: Redis, messages: InFlight) -> None:
    submit(client, 1)
    message = json.loads(redis.rpop(BULK))  # type: ignore[arg-type]
    redis.hset(keys.unacked, "tag", json.dumps([message, "", BULK]))
    assert reconcile(messages) == []


def test_what_has_an_outcome_is_not_published_again(
    client: Client, redis: Redis, messages: InFlight, settings: Settings
) -> None:
    submit(client, 1)
    redis.delete(BULK)
    open_ledger(settings).finish("m-0", {})
    redis.hset(keys.open("m-0"), mapping={"queue": BULK, "message": "{}"})
    redis.zadd(keys.open_index, {"m-0": 1})
    redis.hset(keys.open("m-0"), "message", json.dumps({"properties": {}}))
    assert reconcile(messages) == []
    assert not redis.exists(keys.open_index, keys.open("m-0"), BULK)


def test_a_long_queue_is_read_once_in_a_while_not_at_every_look(
    client: Client, redis: Redis, messages: InFlight
) -> None:
    submit(client, 5)
    redis.zadd(keys.open_index, {"m-0": time.time() - 1_000})
    assert list(messages.suspects(100)) == ["m-0"]
    assert reconciler.reconcile(messages, {"": 100.0}, lambda _: None) == []
    assert messages.suspects(100) == {}


def test_a_training_message_is_waited_for_much_longer(
    client: Client, redis: Redis, messages: InFlight
) -> None:
    handle = client.train("base")
    redis.delete(TRAIN)
    assert reconcile(messages) == []
    redis.zadd(keys.open_index, {handle.id: time.time() - 1_000})
    assert reconcile(messages) == [handle.id]


def test_a_message_published_through_our_application_is_entered(
    settings: Settings, redis: Redis, messages: InFlight
) -> None:
    with broker_config.make_app(settings) as app:
        app.send_task(names.TRAIN_TASK, args=({},), task_id="t", queue=TRAIN)
        app.send_task("another.task", task_id="a", queue="other")
        # The worker of that deployment enters it.
        app.send_task(names.CLASSIFY_TASK, args=({},), task_id="o", queue="other.bulk")
    assert list(messages.suspects(-1)) == ["t"]


def test_a_message_of_a_plain_celery_client_is_entered_when_it_is_taken(
    settings: Settings, redis: Redis, messages: InFlight
) -> None:
    with Celery(broker=settings.redis_url.get_secret_value()) as app:
        app.send_task(names.CLASSIFY_TASK, args=({},), task_id="f", queue=BULK)
    raw = redis.rpop(BULK)
    messages.enter("f", BULK, raw)  # type: ignore[arg-type]
    assert reconcile(messages) == ["f"]


def test_one_worker_looks_at_a_time(messages: InFlight) -> None:
    assert messages.claim("a", 5)
    assert not messages.claim("b", 5)
    assert messages.claim("a", 0.001)
    eventually(lambda: messages.claim("b", 5), "the claim of the first has ended")


def test_a_deferred_message_returns_once_when_its_time_has_come_and_does_not_count_as_lost(
    client: Client, redis: Redis, messages: InFlight
) -> None:
    (message_id,) = submit(client, 1)
    redis.delete(BULK)
    redis.zadd(keys.deferred, {message_id: time.time() + 60})
    reconciler.resume_deferred(messages)
    assert not redis.exists(BULK)
    redis.zadd(keys.deferred, {message_id: time.time() - 1})
    for _ in range(2):
        reconciler.resume_deferred(messages)
    assert not messages.republish(message_id, deferred=True)
    assert redis.llen(BULK) == 1
    assert not redis.exists(keys.deferred, keys.stats)
    # If the deferred ones are forgotten, the ledger still has the entry.
    redis.delete(BULK)
    assert reconcile(messages) == [message_id]


def test_a_training_whose_trainer_fell_silent_is_published_again_once(
    settings: Settings, redis: Redis, client: Client, messages: InFlight
) -> None:
    claims = TrainingClaims(Store.connect(settings))
    run = client.train("base").id
    raw = redis.rpop(TRAIN)
    redis.hset(keys.train_unacked, "tag", json.dumps([json.loads(raw), "", TRAIN]))  # type: ignore[arg-type]
    assert messages.silent_runs(-1.0) == [], "no trainer has attempted it: it is waited for"
    assert claims.claim("base", run, "a trainer") == MINE
    assert claims.renew("base", run, "a trainer") == MINE
    assert messages.silent_runs(10.0) == []
    assert messages.silent_runs(-1.0) == [run]
    assert messages.republish(run)
    assert messages.silent_runs(-1.0) == []
    assert redis.llen(TRAIN) == 1
    redis.delete(TRAIN)
    assert messages.silent_runs(-1.0) == [], "until a trainer attempts it again"


def test_a_run_that_works_for_a_minute_is_no_poison(settings: Settings, redis: Redis, client: Client) -> None:
    claims, ledger, run = (
        TrainingClaims(Store.connect(settings)),
        open_ledger(settings),
        client.train("base").id,
    )
    assert [ledger.attempt(run, worker="w").count for _ in range(3)] == [1, 2, 3]
    claims.claim("base", run, "a trainer")
    claims.renew("base", run, "a trainer")
    assert redis.hget(keys.open(run), "attempts") == b"3"
    redis.hset(keys.open(run), "started_at", time.time() - 61)
    claims.renew("base", run, "a trainer")
    assert ledger.attempt(run, worker="w").count == 1
