"""The script that publishes a message, alone on a real Redis."""

from typing import Any

import pytest
from redis import Redis

from pointsman_shared.store.connection import Store
from tests.support import lua

PUBLISH = lua.script("shared/broker/publish")


def publish(store: Store, digest: str = "") -> Any:
    names = {"queue": "queue", "entry": "entry", "index": "open", "guard": "guard", "result": "result"}
    return PUBLISH(store, **names, message="raw", id="m", digest=digest)


def test_a_message_is_queued_behind_the_others_and_has_an_entry(store: Store, redis: Redis) -> None:
    redis.lpush("queue", "earlier")
    publish(store)
    assert redis.lrange("queue", 0, -1) == [b"raw", b"earlier"]
    entry = redis.hgetall("entry")
    assert (entry[b"queue"], entry[b"message"]) == (b"queue", b"raw")
    assert abs(int(entry[b"at"]) - redis.time()[0]) <= 5
    assert redis.zscore("open", "m") == int(entry[b"at"])


def test_a_message_whose_effects_are_proven_is_queued_without_an_entry(store: Store, redis: Redis) -> None:
    redis.set("guard", "1")
    redis.set("result", '{"status": "FAILURE"}')
    publish(store)
    assert redis.llen("queue") == 1
    assert redis.exists("entry", "open") == 0
    assert redis.exists("result") == 1


def test_a_proof_whose_outcome_is_gone_does_not_keep_its_message_from_being_done_again(
    store: Store, redis: Redis
) -> None:
    redis.set("guard", "of another request")
    assert publish(store, "one") == 1
    assert redis.exists("guard") == 0
    assert redis.hget("entry", "message") == b"raw"


@pytest.mark.parametrize(("status", "stays"), [("SUCCESS", 1), ("FAILURE", 0)])
def test_only_a_failure_is_forgotten_when_its_message_is_submitted_again(
    store: Store, redis: Redis, status: str, stays: int
) -> None:
    redis.set("result", f'{{"status": "{status}"}}')
    publish(store)
    assert redis.exists("result") == stays


@pytest.mark.parametrize("place", ["in flight", "done"])
def test_the_id_of_another_request_is_refused_and_nothing_is_changed(
    store: Store, redis: Redis, place: str
) -> None:
    if place == "done":
        redis.set("guard", "one")
        redis.set("result", '{"status": "SUCCESS"}')
    else:
        assert publish(store, "one") == 1
    before = redis.llen("queue"), redis.hgetall("entry")
    assert publish(store, "two") == 0
    assert (redis.llen("queue"), redis.hgetall("entry")) == before
    assert publish(store, "one") == publish(store) == 1


def test_a_message_without_a_digest_is_that_of_any_request(store: Store, redis: Redis) -> None:
    redis.set("guard", "1")
    redis.set("result", '{"status": "SUCCESS"}')
    assert publish(store, "one") == 1
