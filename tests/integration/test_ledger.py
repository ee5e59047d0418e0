"""The ledger on a real Redis: effects once, and readable through Celery."""

import threading
from collections.abc import Iterator

import pytest
from redis import Redis

from pointsman_shared import broker, names
from pointsman_shared.settings import Settings
from pointsman_workers.ledger import LedgerUnavailableError, RedisLedger


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
    assert redis.hgetall(names.batch_key("b")) == {b"done": b"1", b"base:greeting": b"1"}


def test_many_deliveries_at_once_count_once(settings: Settings, redis: Redis) -> None:
    def deliver() -> None:
        RedisLedger.connect(settings).record(reply("m"), batch="b", counters={"done": 500})

    threads = [threading.Thread(target=deliver) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert redis.hget(names.batch_key("b"), "done") == b"500"


def test_an_outcome_that_was_let_go_is_still_not_counted_again(settings: Settings, redis: Redis) -> None:
    ledger = RedisLedger.connect(settings)
    ledger.record(reply("m"), batch="b", counters={"done": 1})
    redis.delete(names.result_key("m"))
    assert ledger.record(reply("m"), batch="b", counters={"done": 1}) == reply("m")
    assert redis.hget(names.batch_key("b"), "done") == b"1"


def test_an_outcome_is_an_ordinary_celery_result(settings: Settings) -> None:
    RedisLedger.connect(settings).record(reply("m"))
    app = broker.make_app(settings)
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
        pubsub.subscribe(names.reply_channel("c"))
        pubsub.get_message(timeout=5)
        RedisLedger.connect(settings).record(reply("m"), client_id="c")
        message = pubsub.get_message(timeout=5)
    assert message is not None
    assert message["data"] == b"m"


def test_redis_away_is_said_in_our_own_terms() -> None:
    nowhere = Settings.from_env({"POINTSMAN_REDIS_URL": "redis://127.0.0.1:1/0"})
    with pytest.raises(LedgerUnavailableError):
        RedisLedger.connect(nowhere).record(reply("m"))
