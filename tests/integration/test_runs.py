"""One training per tier, each run once, with the claims in a real Redis."""

import threading
import time
from collections.abc import Iterator

import pytest
from redis import Redis

from pointsman_shared import errors
from pointsman_shared.store import keys
from pointsman_shared.wire import jobs
from pointsman_workers.training import claim as training_claim
from pointsman_workers.training.training_book import RedisTrainingBook
from tests.support.deadlines import eventually

REPLY = jobs.TrainReply(
    tier="base",
    version=3,
    promoted=True,
    reasons=[],
    metrics={},
    pipeline="words",
    threshold=0.3,
    duration_s=1.0,
    warnings=[],
)


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as redis:
        yield redis


@pytest.fixture
def book(redis: Redis) -> RedisTrainingBook:
    return RedisTrainingBook(redis, 3600, claim_ttl_ms=600)


def test_a_run_that_was_done_gives_its_reply_again_and_is_not_done_again(book: RedisTrainingBook) -> None:
    done: list[int] = []

    def work(check: object) -> jobs.TrainReply:
        done.append(1)
        return REPLY

    assert [training_claim.do_once(book, "base", "run 1", work) for _ in range(2)] == [REPLY, REPLY]
    assert done == [1]


def test_a_run_that_failed_for_good_fails_again_without_being_done_again(book: RedisTrainingBook) -> None:
    done: list[int] = []

    def work(check: object) -> jobs.TrainReply:
        done.append(1)
        msg = "goodbye has no examples"
        raise errors.InvalidDataError(msg)

    for _ in range(2):
        with pytest.raises(errors.InvalidDataError, match="goodbye has no examples"):
            training_claim.do_once(book, "base", "run 1", work)
    assert done == [1]


def test_another_run_of_the_tier_is_refused_and_another_tier_is_not(book: RedisTrainingBook) -> None:
    def work(check: object) -> jobs.TrainReply:
        with pytest.raises(errors.BusyError, match="by run run 1"):
            training_claim.do_once(book, "base", "run 2", lambda _: REPLY)
        return training_claim.do_once(book, "pro", "run 3", lambda _: REPLY)

    assert training_claim.do_once(book, "base", "run 1", work) == REPLY
    assert training_claim.do_once(book, "base", "run 2", lambda _: REPLY) == REPLY


def test_the_same_run_delivered_twice_at_once_is_done_once(book: RedisTrainingBook) -> None:
    done: list[int] = []
    second: list[jobs.TrainReply] = []

    def again() -> None:
        second.append(training_claim.do_once(book, "base", "run 1", lambda _: pytest.fail("done twice")))

    thread = threading.Thread(target=again)

    def work(check: object) -> jobs.TrainReply:
        thread.start()
        done.append(1)
        # Longer than a claim that nobody renews.
        time.sleep(1.0)
        return REPLY

    assert training_claim.do_once(book, "base", "run 1", work) == REPLY
    thread.join(10)
    assert (second, done) == ([REPLY], [1])


def test_the_claim_of_a_dead_trainer_ends_and_its_run_goes_on_elsewhere(book: RedisTrainingBook) -> None:
    assert book.claim("base", "run 1", "the dead").state == "mine"
    assert training_claim.do_once(book, "base", "run 1", lambda _: REPLY) == REPLY


def test_a_run_that_is_asked_to_stop_stops_at_its_next_step(book: RedisTrainingBook, redis: Redis) -> None:
    def work(check: object) -> jobs.TrainReply:
        redis.hset(keys.training("base"), "cancel", "marge")
        assert callable(check)
        eventually(lambda: check() is not None, "the run is told")
        return REPLY

    with pytest.raises(errors.CancelledError):
        training_claim.do_once(book, "base", "run 1", work)
    assert training_claim.do_once(book, "base", "run 2", lambda _: REPLY) == REPLY


def test_a_run_whose_claim_was_taken_over_stops(book: RedisTrainingBook, redis: Redis) -> None:
    def work(check: object) -> jobs.TrainReply:
        redis.hset(keys.training("base"), mapping={"id": "run 9", "holder": "another"})
        assert callable(check)
        eventually(lambda: check() is not None, "the run is told")
        return REPLY

    with pytest.raises(errors.BusyError, match="another run"):
        training_claim.do_once(book, "base", "run 1", work)
    assert redis.hget(keys.training("base"), "holder") == b"another"


def test_labels_are_read_as_they_were_written(book: RedisTrainingBook, redis: Redis) -> None:
    redis.hset(keys.LABELS, "m:0", b'{"text": "hi", "intent": "greeting", "tier": "base"}')
    assert list(book.labels()) == [("m:0", {"text": "hi", "intent": "greeting", "tier": "base"})]
