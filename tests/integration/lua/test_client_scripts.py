"""The producer's script that cancels a message, alone on a real Redis."""

from typing import Any

from redis import Redis

from pointsman_shared.store.connection import Store
from tests.support import lua

CANCEL = lua.script("producer/client/cancel")


def cancel(store: Store, **changes: Any) -> Any:
    values = {"id": "m", "outcome": "cancelled", "ttl": 60, "texts": 2, "channel": "", **changes}
    names = {"result": "result", "done": "done", "entry": "entry", "open_index": "open", "progress": "batch"}
    return CANCEL(store, **names, **values)


def test_a_message_in_flight_is_cancelled_with_its_texts(store: Store, redis: Redis) -> None:
    redis.hset("entry", "message", "raw")
    redis.zadd("open", {"m": 1, "other": 1})
    assert cancel(store) == 1
    assert redis.get("result") == b"cancelled"
    assert redis.exists("entry") == 0
    assert redis.zrange("open", 0, -1) == [b"other"]
    assert redis.hgetall("batch") == {b"cancelled": b"2"}
    assert all(0 < redis.ttl(key) <= 60 for key in ("result", "done", "batch"))


def test_a_message_that_succeeded_keeps_its_outcome(store: Store, redis: Redis) -> None:
    redis.set("result", '{"status": "SUCCESS"}')
    assert cancel(store) == 0
    assert redis.get("result") == b'{"status": "SUCCESS"}'
    assert redis.exists("done", "batch") == 0


def test_nothing_is_left_of_an_id_that_no_message_has(store: Store, redis: Redis) -> None:
    assert cancel(store) == 0
    assert redis.keys() == []


def test_a_message_is_cancelled_once(store: Store, redis: Redis) -> None:
    redis.hset("entry", "message", "raw")
    assert [cancel(store), cancel(store)] == [1, 0]
    assert redis.hgetall("batch") == {b"cancelled": b"2"}


def test_a_message_outside_a_batch_is_counted_nowhere(store: Store, redis: Redis) -> None:
    redis.hset("entry", "message", "raw")
    assert cancel(store, texts=0) == 1
    assert redis.exists("batch") == 0


def test_the_waiting_clients_hear_of_it(store: Store, redis: Redis) -> None:
    redis.hset("entry", "message", "raw")
    with redis.pubsub() as heard:  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
        heard.subscribe("result", "reply")
        for _ in range(2):
            heard.get_message(timeout=5)
        cancel(store, channel="reply")
        messages = [heard.get_message(timeout=5) for _ in range(2)]
    assert [(one["channel"], one["data"]) for one in messages] == [
        (b"result", b"cancelled"),
        (b"reply", b"m"),
    ]
