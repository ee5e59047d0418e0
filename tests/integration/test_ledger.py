"""The ledger on a real Redis: effects once, and readable through Celery."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from pointsman_producer.client.client import Client
from pointsman_producer.client.users import checked_request
from pointsman_shared import errors
from pointsman_shared.broker import config as broker_config
from pointsman_shared.settings import Settings
from pointsman_shared.store import dead_letters
from pointsman_shared.store.backpressure import Pressure
from pointsman_shared.store.connection import UNAVAILABLE, Store
from pointsman_workers.delivery.ledger import ATTEMPT, Ledger
from tests.support.default_keys import BULK, keys
from tests.support.ledgers import CLASSIFIED, open_ledger, open_letters, stored


def reply(message_id: str, intent: str = "greeting") -> dict[str, object]:
    return {"message_id": message_id, "intent": [intent]}


def test_a_redelivered_message_counts_once_and_gets_the_first_outcome(
    settings: Settings, redis: Redis
) -> None:
    ledger = open_ledger(settings)
    first = ledger.finish("m", reply("m", "greeting"), batch="b", counters={"done": 1, "base:greeting": 1})
    second = ledger.finish("m", reply("m", "goodbye"), batch="b", counters={"done": 1, "base:goodbye": 1})
    assert first == second == stored(settings, "m") == reply("m", "greeting")
    assert redis.hgetall(keys.batch("b")) == {b"done": b"1", b"base:greeting": b"1"}


def test_many_deliveries_at_once_count_once(settings: Settings, redis: Redis) -> None:
    def deliver() -> None:
        open_ledger(settings).finish("m", reply("m"), batch="b", counters={"done": 500})

    threads = [threading.Thread(target=deliver) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert redis.hget(keys.batch("b"), "done") == b"500"


def test_an_outcome_that_was_let_go_is_still_not_counted_again(settings: Settings, redis: Redis) -> None:
    ledger = open_ledger(settings)
    ledger.finish("m", reply("m"), batch="b", counters={"done": 1})
    redis.delete(keys.result("m"))
    assert ledger.finish("m", reply("m"), batch="b", counters={"done": 1}) == reply("m")
    assert redis.hget(keys.batch("b"), "done") == b"1"


def test_an_outcome_is_an_ordinary_celery_result(settings: Settings) -> None:
    open_ledger(settings).finish("m", reply("m"))
    app = broker_config.make_app(settings)
    result = app.AsyncResult("m")
    assert result.get(timeout=5) == reply("m")
    assert result.status == "SUCCESS"
    app.close()


def test_everything_a_message_leaves_behind_is_forgotten_in_time(settings: Settings, redis: Redis) -> None:
    open_ledger(settings).finish("m", reply("m"), batch="b", counters={"done": 1})
    lifetimes = [redis.ttl(key) for key in redis.scan_iter()]
    assert len(lifetimes) == 3
    assert all(0 < ttl <= settings.result_ttl_s for ttl in lifetimes)


def test_the_client_that_waits_is_notified(settings: Settings, redis: Redis) -> None:
    with redis.pubsub() as pubsub:  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
        pubsub.subscribe(keys.reply_channel("c"))
        pubsub.get_message(timeout=5)
        open_ledger(settings).finish("m", reply("m"), client_id="c")
        message = pubsub.get_message(timeout=5)
    assert message is not None
    assert message["data"] == b"m"


def test_redis_away_is_said_in_our_own_terms() -> None:
    nowhere = Settings.from_env({"POINTSMAN_REDIS_URL": "redis://127.0.0.1:1/0"})
    with pytest.raises(UNAVAILABLE):
        open_ledger(nowhere).finish("m", reply("m"))


def letter(message_id: str, **known: object) -> dead_letters.DeadLetter:
    facts = {
        "reason": "failed",
        "error": "JobFailedError",
        "detail": "d",
        "queue": "",
        "died_at": time.time(),
    }
    return dead_letters.DeadLetter(id=message_id, **{**facts, **known})


def test_each_attempt_is_counted_until_there_is_an_outcome(settings: Settings) -> None:
    ledger = open_ledger(settings)
    assert [ledger.attempt("m", worker="w").count for _ in range(3)] == [1, 2, 3]
    ledger.finish("m", reply("m"))
    attempt = ledger.attempt("m", worker="w")
    assert (attempt.count, attempt.is_done, attempt.stored) == (0, True, reply("m"))


def test_a_delivery_that_asks_again_is_the_same_attempt(settings: Settings, redis: Redis) -> None:
    ask = {
        "result": keys.result("m"),
        "guard": keys.done("m"),
        "entry": keys.open("m"),
        "index": keys.open_index,
        "cancelled": keys.cancelled(""),
        "interrupted": keys.interrupted,
        "deferred": keys.deferred,
        **{"id": "m", "worker": "w", "now": time.time(), "ttl": 60},
        **{"most": 9, "calm_s": 5, "again_s": 2, "patience_s": 120, "digest": ""},
    }
    answers = [ATTEMPT(Store.connect(settings), **ask, delivery=delivery)[0] for delivery in "aaba"]
    assert answers == [1, 1, 2, 3]


def interrupt_twice(ledger: Ledger, *message_ids: str) -> None:
    """Attempt messages twice each; the first attempt counts as interrupted then."""
    for message_id in message_ids:
        assert [ledger.attempt(message_id, worker="w").count for _ in range(2)] == [1, 2]


@pytest.fixture
def submitted(settings: Settings) -> Iterator[list[str]]:
    with Client(settings=settings) as client:
        request = checked_request(["hi"], [None])
        yield [client.submit_message(request, message_id=message_id).id for message_id in ("m", "n")]


def test_the_last_attempt_is_deferred_while_other_messages_are_interrupted(
    settings: Settings, redis: Redis, submitted: list[str]
) -> None:
    ledger = open_ledger(settings)
    interrupt_twice(ledger, *submitted)
    for message_id in submitted:
        attempt = ledger.attempt(message_id, worker="w")
        assert (attempt.is_deferred, attempt.is_done, attempt.count) == (True, False, 0)
    # Looking again is not an interruption.
    interrupted: Any = redis.zrange(keys.interrupted, 0, -1, withscores=True)
    assert ledger.attempt("m", worker="w").is_deferred
    assert redis.zrange(keys.interrupted, 0, -1, withscores=True) == interrupted
    redis.zadd(keys.interrupted, dict.fromkeys(submitted, time.time() - 60))
    assert [ledger.attempt("m", worker="w").count for _ in range(2)] == [3, 4]
    # A message that proves to be poison is no reason for others to wait.
    assert ledger.attempt("n", worker="w").count == 3


def test_a_message_that_alone_is_interrupted_is_not_deferred(
    settings: Settings, submitted: list[str]
) -> None:
    ledger = open_ledger(settings)
    assert [ledger.attempt(submitted[0], worker="w").count for _ in range(4)] == [1, 2, 3, 4]


def test_the_last_attempt_is_not_deferred_for_ever(
    settings: Settings, redis: Redis, submitted: list[str]
) -> None:
    ledger = open_ledger(settings)
    interrupt_twice(ledger, *submitted)
    assert ledger.attempt("m", worker="w").is_deferred
    redis.hset(keys.open("m"), "deferred_at", time.time() - 1_000)
    assert ledger.attempt("m", worker="w").count == 3


def test_a_message_given_up_is_a_dead_letter_and_a_failed_outcome_that_says_so(
    settings: Settings, redis: Redis
) -> None:
    with Client(settings=settings) as client:
        message = client.submit_message(checked_request(["hi"], [None], "b"), message_id="m")
        ledger = open_ledger(settings)
        ledger.attempt("m", worker="w")
        ledger.fail(letter("m", batch="b", texts=1), errors.PoisonError("poison"), client_id=client.id)
        with pytest.raises(errors.PoisonError, match="poison") as failure:
            message.result(5)
        assert client.progress("b") == {"failed": 1}
    assert failure.value.dead_letter == "m"
    assert failure.value.is_retryable is False
    kept = open_letters(settings).get("m")
    assert kept is not None
    assert (kept.attempts, kept.queue, kept.texts) == (1, BULK, 1)
    assert kept.arguments()[0]["texts"] == ["hi"]  # type: ignore[index]  # any JSON
    assert ledger.attempt("m", worker="w").is_done
    assert not redis.exists(keys.open("m"), keys.open_index)


def test_a_failure_that_may_pass_can_be_submitted_again(settings: Settings, redis: Redis) -> None:
    ledger = open_ledger(settings)
    ledger.fail(letter("m", retryable=True), errors.TierUnavailableError("no tier"))
    with Client(settings=settings) as client:
        message = client.submit_message(checked_request(["hi"], [None]), message_id="m")
        assert ledger.attempt("m", worker="w").count == 1
        ledger.finish("m", CLASSIFIED, client_id=client.id)
        assert message.result(5).intent == ["greeting"]
    assert not redis.exists(keys.dead("m"), keys.dead_index)


def test_a_replayed_dead_letter_has_one_outcome_and_is_counted_once(settings: Settings, redis: Redis) -> None:
    letters = open_letters(settings)
    ledger = open_ledger(settings)
    with Client(settings=settings) as client:
        client.submit_message(checked_request(["hi"], [None], "b"), message_id="m")
        redis.delete(BULK)
        ledger.fail(letter("m", batch="b", texts=1), errors.JobFailedError("d"))
        (found,) = letters.find()
        assert letters.replay(found)
        assert not letters.replay(found)
        assert redis.llen(BULK) == 1
        assert ledger.attempt("m", worker="w", batch="b").count == 1
        ledger.finish("m", CLASSIFIED, batch="b", counters={"done": 1})
        ledger.finish("m", CLASSIFIED, batch="b", counters={"done": 1})
        assert client.progress("b") == {"failed": 0, "done": 1}


def test_a_dead_letter_without_its_message_is_not_replayed_and_stays(settings: Settings) -> None:
    letters = open_letters(settings)
    open_ledger(settings).fail(letter("m"), errors.JobFailedError("d"))
    (found,) = letters.find()
    with pytest.raises(errors.InvalidMessageError, match="m holds no message"):
        letters.replay(found)
    assert [each.id for each in letters.find()] == ["m"]


def test_only_so_many_dead_letters_are_kept(settings: Settings, redis: Redis) -> None:
    ledger = open_ledger(settings, most_letters=3)
    for number in range(5):
        ledger.fail(letter(f"m-{number}", died_at=time.time() + number), errors.JobFailedError("d"))
    letters = open_letters(settings)
    assert [each.id for each in letters.find()] == ["m-4", "m-3", "m-2"]
    assert not redis.exists(keys.dead("m-0"))


def test_outcomes_are_stored_even_where_redis_is_full(settings: Settings, redis: Redis) -> None:
    ledger = open_ledger(settings)
    with Client(settings=settings) as client:
        client.submit_message(checked_request(["hi"], [None]), message_id="m")
        client._pressure = Pressure(client._store, settings, patience_s=0.1)
        redis.config_set("maxmemory", "1")
        try:
            with pytest.raises(errors.QueueFullError, match="full"):
                client.submit_message(checked_request(["hi"], [None]), message_id="n")
            assert ledger.attempt("m", worker="w").count == 1
            ledger.finish("m", CLASSIFIED)
            assert stored(settings, "m") == CLASSIFIED
        finally:
            redis.config_set("maxmemory", "0")
    assert not redis.exists(keys.open("n"))
