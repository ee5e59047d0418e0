"""The ledger on a real Redis: effects once, and readable through Celery."""

import threading
import time
from collections.abc import Iterator

import pytest
from redis import Redis

from pointsman_producer.client.client import Client, checked_request
from pointsman_shared import errors, names
from pointsman_shared.broker import config as broker_config
from pointsman_shared.settings import Settings
from pointsman_shared.store import dead_letters, keys
from pointsman_workers.delivery.ledger import LedgerUnavailableError, RedisLedger

CLASSIFIED = {
    "message_id": "m",
    "intent": ["greeting"],
    "confidence": [0.9],
    "ranking": [[0]],
    "ranking_confidence": [[0.9]],
    "route_of": [0],
    "routes": [],
}


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return Settings.from_env({"POINTSMAN_REDIS_URL": redis_url})


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client


def reply(message_id: str, intent: str = "greeting") -> dict[str, object]:
    return {"message_id": message_id, "intent": [intent]}


def test_a_redelivered_message_counts_once_and_gets_the_first_outcome(
    settings: Settings, redis: Redis
) -> None:
    ledger = RedisLedger.connect(settings)
    first = ledger.record(reply("m", "greeting"), batch="b", counters={"done": 1, "base:greeting": 1})
    second = ledger.record(reply("m", "goodbye"), batch="b", counters={"done": 1, "base:goodbye": 1})
    assert first == second == ledger.stored("m") == reply("m", "greeting")
    assert redis.hgetall(keys.batch("b")) == {b"done": b"1", b"base:greeting": b"1"}


def test_many_deliveries_at_once_count_once(settings: Settings, redis: Redis) -> None:
    def deliver() -> None:
        RedisLedger.connect(settings).record(reply("m"), batch="b", counters={"done": 500})

    threads = [threading.Thread(target=deliver) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert redis.hget(keys.batch("b"), "done") == b"500"


def test_an_outcome_that_was_let_go_is_still_not_counted_again(settings: Settings, redis: Redis) -> None:
    ledger = RedisLedger.connect(settings)
    ledger.record(reply("m"), batch="b", counters={"done": 1})
    redis.delete(keys.result("m"))
    assert ledger.record(reply("m"), batch="b", counters={"done": 1}) == reply("m")
    assert redis.hget(keys.batch("b"), "done") == b"1"


def test_an_outcome_is_an_ordinary_celery_result(settings: Settings) -> None:
    RedisLedger.connect(settings).record(reply("m"))
    app = broker_config.make_app(settings)
    result = app.AsyncResult("m")
    assert result.get(timeout=5) == reply("m")
    assert result.status == "SUCCESS"
    app.close()


def test_everything_a_message_leaves_behind_is_forgotten_in_time(settings: Settings, redis: Redis) -> None:
    RedisLedger.connect(settings).record(reply("m"), batch="b", counters={"done": 1})
    lifetimes = [redis.ttl(key) for key in redis.scan_iter()]
    assert len(lifetimes) == 3
    assert all(0 < ttl <= settings.result_ttl_s for ttl in lifetimes)


def test_the_client_that_waits_is_told(settings: Settings, redis: Redis) -> None:
    with redis.pubsub() as pubsub:  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
        pubsub.subscribe(keys.reply_channel("c"))
        pubsub.get_message(timeout=5)
        RedisLedger.connect(settings).record(reply("m"), client_id="c")
        message = pubsub.get_message(timeout=5)
    assert message is not None
    assert message["data"] == b"m"


def test_redis_away_is_said_in_our_own_terms() -> None:
    nowhere = Settings.from_env({"POINTSMAN_REDIS_URL": "redis://127.0.0.1:1/0"})
    with pytest.raises(LedgerUnavailableError):
        RedisLedger.connect(nowhere).record(reply("m"))


def letter(message_id: str, **known: object) -> dead_letters.DeadLetter:
    facts = {
        "reason": "failed",
        "error": "JobFailedError",
        "detail": "d",
        "queue": "",
        "died_at": time.time(),
    }
    return dead_letters.DeadLetter(id=message_id, **{**facts, **known})  # type: ignore[arg-type]  # the facts vary


def test_each_start_is_counted_until_there_is_an_outcome(settings: Settings) -> None:
    ledger = RedisLedger.connect(settings)
    assert [ledger.begin("m", worker="w").starts for _ in range(3)] == [1, 2, 3]
    ledger.record(reply("m"))
    begun = ledger.begin("m", worker="w")
    assert (begun.starts, begun.is_done, begun.stored) == (0, True, reply("m"))


def begin_twice(ledger: RedisLedger, *message_ids: str) -> None:
    """Have messages begun and cut off, each once, and begun again."""
    for message_id in message_ids:
        assert [ledger.begin(message_id, worker="w", max_starts=3).starts for _ in range(2)] == [1, 2]


@pytest.fixture
def submitted(settings: Settings) -> Iterator[list[str]]:
    with Client(settings=settings) as client:
        request = checked_request(["hi"], [None])
        yield [client.submit_message(request, message_id=message_id).id for message_id in ("m", "n")]


def test_the_last_start_waits_until_no_other_message_is_cut_off(
    settings: Settings, redis: Redis, submitted: list[str]
) -> None:
    ledger = RedisLedger.connect(settings)
    begin_twice(ledger, *submitted)
    for message_id in submitted:
        begun = ledger.begin(message_id, worker="w", max_starts=3)
        assert (begun.is_put_off, begun.is_done, begun.starts) == (True, False, 0)
    # Looking again cuts nobody off.
    cut_off = dict(redis.zrange(keys.CUT_OFF, 0, -1, withscores=True))  # type: ignore[arg-type]
    assert ledger.begin("m", worker="w", max_starts=3).is_put_off
    assert dict(redis.zrange(keys.CUT_OFF, 0, -1, withscores=True)) == cut_off  # type: ignore[arg-type]
    redis.zadd(keys.CUT_OFF, dict.fromkeys(submitted, time.time() - 60))
    assert [ledger.begin("m", worker="w", max_starts=3).starts for _ in range(2)] == [3, 4]
    # What has proved to be poison is no reason for others to wait.
    assert ledger.begin("n", worker="w", max_starts=3).starts == 3


def test_a_message_that_is_the_only_one_to_be_cut_off_waits_for_nothing(
    settings: Settings, submitted: list[str]
) -> None:
    ledger = RedisLedger.connect(settings)
    assert [ledger.begin(submitted[0], worker="w", max_starts=3).starts for _ in range(4)] == [1, 2, 3, 4]


def test_the_last_start_does_not_wait_for_ever(
    settings: Settings, redis: Redis, submitted: list[str]
) -> None:
    ledger = RedisLedger.connect(settings)
    begin_twice(ledger, *submitted)
    assert ledger.begin("m", worker="w", max_starts=3).is_put_off
    redis.hset(keys.open("m"), "wary_since", time.time() - 1_000)
    assert ledger.begin("m", worker="w", max_starts=3).starts == 3


def test_a_message_given_up_is_a_dead_letter_and_a_failed_outcome_that_says_so(
    settings: Settings, redis: Redis
) -> None:
    with Client(settings=settings) as client:
        message = client.submit_message(checked_request(["hi"], [None], "b"), message_id="m")
        ledger = RedisLedger.connect(settings)
        ledger.begin("m", worker="w")
        ledger.fail(letter("m", batch="b", texts=1), errors.PoisonError("poison"), client_id=client.id)
        with pytest.raises(errors.PoisonError, match="poison") as failure:
            message.result(5)
        assert client.progress("b") == {"failed": 1}
    assert failure.value.dead_letter == "m"
    assert failure.value.is_retryable is False
    stored = dead_letters.DeadLetters(redis, ttl_s=60, most=9).get("m")
    assert stored is not None
    assert (stored.starts, stored.queue, stored.texts) == (1, names.BULK_QUEUE, 1)
    assert stored.arguments()[0]["texts"] == ["hi"]  # type: ignore[index]  # any JSON
    assert ledger.begin("m", worker="w").is_done
    assert not redis.exists(keys.open("m"), keys.OPEN_INDEX)


def test_a_failure_that_may_pass_can_be_submitted_again(settings: Settings, redis: Redis) -> None:
    ledger = RedisLedger.connect(settings)
    ledger.fail(letter("m", retryable=True), errors.TierUnavailableError("no tier"))
    with Client(settings=settings) as client:
        message = client.submit_message(checked_request(["hi"], [None]), message_id="m")
        assert ledger.begin("m", worker="w").starts == 1
        ledger.record(CLASSIFIED, client_id=client.id)
        assert message.result(5).intent == ["greeting"]
    assert not redis.exists(keys.dead("m"), keys.DEAD_INDEX)


def test_a_replayed_dead_letter_has_one_outcome_and_is_counted_once(settings: Settings, redis: Redis) -> None:
    letters = dead_letters.DeadLetters(redis, ttl_s=60, most=9)
    ledger = RedisLedger.connect(settings)
    with Client(settings=settings) as client:
        client.submit_message(checked_request(["hi"], [None], "b"), message_id="m")
        redis.delete(names.BULK_QUEUE)
        ledger.fail(letter("m", batch="b", texts=1), errors.JobFailedError("d"))
        (found,) = letters.find()
        assert letters.replay(found)
        assert not letters.replay(found)
        assert redis.llen(names.BULK_QUEUE) == 1
        assert ledger.begin("m", worker="w", batch="b").starts == 1
        ledger.record(CLASSIFIED, batch="b", counters={"done": 1})
        ledger.record(CLASSIFIED, batch="b", counters={"done": 1})
        assert client.progress("b") == {"failed": 0, "done": 1}


def test_only_so_many_dead_letters_are_kept(settings: Settings, redis: Redis) -> None:
    ledger = RedisLedger.connect(settings.model_copy(update={"dead_letters_max": 3}))
    for number in range(5):
        ledger.fail(letter(f"m-{number}", died_at=time.time() + number), errors.JobFailedError("d"))
    letters = dead_letters.DeadLetters(redis, ttl_s=60, most=3)
    assert [each.id for each in letters.find()] == ["m-4", "m-3", "m-2"]
    assert not redis.exists(keys.dead("m-0"))


def test_outcomes_are_stored_even_where_redis_is_full(settings: Settings, redis: Redis) -> None:
    ledger = RedisLedger.connect(settings)
    with Client(settings=settings) as client:
        client.submit_message(checked_request(["hi"], [None]), message_id="m")
        redis.config_set("maxmemory", "1mb")
        try:
            with pytest.raises(errors.QueueFullError, match="full"):
                client.submit_message(checked_request(["hi"], [None]), message_id="n")
            assert ledger.begin("m", worker="w").starts == 1
            ledger.record(CLASSIFIED)
            assert ledger.stored("m") == CLASSIFIED
        finally:
            redis.config_set("maxmemory", "0")
    assert not redis.exists(keys.open("n"))
