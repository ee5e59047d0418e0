"""The queue of shadow work in a real Redis: filled by the transaction that stores an outcome, emptied exactly once."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from redis import Redis

from pointsman_shared import names
from pointsman_shared.settings import Settings
from pointsman_shared.store.connection import Store
from pointsman_workers.shadow import backlog
from pointsman_workers.shadow.backlog import Backlog, Taken
from pointsman_workers.shadow.store import Addition, Comparisons
from tests.support.deadlines import eventually
from tests.support.default_keys import BULK, keys
from tests.support.ledgers import open_ledger, stored

PAIR = "pro@7 vs base@4"
FOUND = {PAIR: Addition(fields={'["texts","day","d"]': 1})}


def wish(message_id: str, texts: int = 3, **changes: Any) -> Mapping[str, Any]:
    values = {"texts": texts, "places": None, "shed": None, "limit_bytes": backlog.MIB, **changes}
    return backlog.wish(keys, message_id, **values)


def serve(
    redis: Redis, settings: Settings, message_id: str, *, message: str = "the message", **wanted: Any
) -> Any:
    redis.hset(keys.open(message_id), mapping={"message": message, "queue": "bulk"})
    reply = {"message_id": message_id, "intent": ["greeting"]}
    return open_ledger(settings).finish(message_id, reply, extra=wish(message_id, **wanted))


def take(settings: Settings, holder: str = "me", *, hold_s: float = 30, **options: Any) -> list[Taken]:
    options = {"most_texts": 100, "yields": True, **options}
    return Backlog(Store.connect(settings)).take(holder, hold_s=hold_s, **options)


def test_what_was_served_waits_with_its_request_and_its_outcome(redis: Redis, settings: Settings) -> None:
    serve(redis, settings, "m", texts=2, places=[0, 2])
    assert not redis.exists(keys.open("m"))
    [taken] = take(settings)
    assert (taken.message_id, taken.places, taken.message, taken.shed) == ("m", [0, 2], b"the message", None)
    assert orjson.loads(taken.outcome or b"")["result"]["intent"] == ["greeting"]
    assert (taken.tries, taken.doing) == (1, None)


def test_a_second_delivery_adds_nothing(redis: Redis, settings: Settings) -> None:
    for _ in range(2):
        serve(redis, settings, "m")
    assert redis.zcard(keys.shadow_waiting) == 1
    assert not redis.exists(keys.open("m"))


def test_held_work_is_taken_by_no_other_worker_until_its_holder_is_lost(
    redis: Redis, settings: Settings
) -> None:
    serve(redis, settings, "m")
    assert take(settings, "one", hold_s=0.2)
    Backlog(Store.connect(settings)).note("m", "base@4")
    assert not take(settings, "two")
    found: list[Taken] = []

    def is_taken() -> bool:
        found.extend(take(settings, "two"))
        return bool(found)

    eventually(is_taken, "its holder counts as lost")
    [again] = found
    assert (again.tries, again.doing) == (2, "base@4")
    store = Comparisons(Store.connect(settings), settings)
    assert not store.add("one", ["m"], FOUND)
    assert store.add("two", ["m"], FOUND)
    assert not store.add("two", ["m"], FOUND)
    assert store.fields(PAIR) == {'["texts","day","d"]': 1}
    assert {key.decode() for key in redis.scan_iter("pointsman:shadow:*")} == {
        keys.shadow_pairs,
        keys.shadow_counts(PAIR),
    }


def test_short_messages_are_taken_together(redis: Redis, settings: Settings) -> None:
    for number in range(5):
        serve(redis, settings, f"m{number}", texts=40)
    assert [one.message_id for one in take(settings)] == ["m0", "m1"]
    assert [one.message_id for one in take(settings, most_texts=1)] == ["m2"]


def test_nothing_is_taken_while_users_wait(redis: Redis, settings: Settings) -> None:
    serve(redis, settings, "m")
    redis.hset(keys.unacked, "tag", "being served")
    assert not take(settings, alone=True)
    redis.lpush(BULK, "a message")
    assert not take(settings)
    assert Backlog(Store.connect(settings)).look() == backlog.Look(ready=1, calls=0, users=1)
    # Workers that only do shadow work need not care.
    assert take(settings, yields=False)


def test_beyond_the_limit_texts_are_not_kept_but_noted_and_then_only_a_number(
    redis: Redis, settings: Settings
) -> None:
    serve(redis, settings, "a", limit_bytes=1_000, message="x" * 900)
    serve(redis, settings, "b", limit_bytes=1_000, message="y" * 900)
    serve(redis, settings, "c", shed="redis_memory", message="z" * 900)
    assert [(one.shed, one.message) for one in take(settings)] == [
        (None, b"x" * 900),
        ("queue_full", None),
        ("redis_memory", None),
    ]
    redis.set(keys.shadow_bytes, 10 * backlog.MIB)
    serve(redis, settings, "d", limit_bytes=1_000)
    assert redis.hget(keys.stats, names.SHADOW_DROPPED) == b"1"


@pytest.mark.parametrize("broken", [keys.shadow_waiting, keys.shadow_bytes])
def test_an_outcome_is_stored_though_shadowing_is_refused(
    redis: Redis, settings: Settings, broken: str
) -> None:
    redis.lpush(broken, "not what it should be")
    assert serve(redis, settings, "m")["intent"] == ["greeting"]
    assert stored(settings, "m") is not None
    assert redis.hget(keys.stats, names.SHADOW_DROPPED) == b"1"
    assert not redis.exists(keys.open("m"), keys.shadow_kept("m"))


def test_a_full_redis_lets_outcomes_through(redis: Redis, settings: Settings) -> None:
    redis.hset(keys.open("m"), mapping={"message": "x", "queue": "bulk"})
    redis.config_set("maxmemory", 1)
    open_ledger(settings).finish("m", {"intent": []}, extra=wish("m"))
    assert stored(settings, "m") is not None


def test_what_expired_is_forgotten_and_counted(redis: Redis, settings: Settings) -> None:
    serve(redis, settings, "m")
    assert redis.ttl(keys.shadow_kept("m")) > 0
    redis.delete(keys.shadow_kept("m"))
    assert not take(settings)
    assert not redis.exists(keys.shadow_waiting, keys.shadow_bytes)
    assert redis.hget(keys.stats, names.SHADOW_DROPPED) == b"1"


@pytest.mark.parametrize(("texts", "messages"), [(500, 20), (1, 1_000)])
def test_nothing_is_left_of_what_was_counted(
    redis: Redis, settings: Settings, texts: int, messages: int
) -> None:
    for number in range(messages):
        serve(redis, settings, f"m{number}", texts=texts)
    redis.delete(*(keys.result(f"m{number}") for number in range(messages)))
    redis.delete(*(keys.done(f"m{number}") for number in range(messages)))
    store = Comparisons(Store.connect(settings), settings)
    while taken := take(settings, most_texts=500):
        assert store.add("me", [one.message_id for one in taken], FOUND)
    assert {key.decode() for key in redis.scan_iter()} == {
        keys.shadow_pairs,
        keys.shadow_counts(PAIR),
    }
