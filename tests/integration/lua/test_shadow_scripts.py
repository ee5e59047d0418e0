"""The scripts of the shadow, each alone on a real Redis."""

import json
from typing import Any

import pytest
from redis import Redis

from pointsman_shared.store.connection import Store
from pointsman_shared.store.scripts import Script
from tests.support import lua

MIB = 1_048_576
# The library's function as the closing calls it.
KEEP = Script(
    """
local entry = unpack(KEYS)
local id, ttl, want = unpack(ARGV)
extend(id, entry, ttl, cjson.decode(want))
""",
    lua.library("workers/shadow/keep"),
)
TAKE = lua.script("workers/shadow/take")
NOTE = lua.script("workers/shadow/note")
COUNT = lua.script("workers/shadow/count")


def keep(store: Store, id: str = "m", **changes: Any) -> None:  # noqa: A002  the script's name of it
    names = {"waiting": "waiting", "bytes": "bytes", "stats": "stats", "dropped": "dropped"}
    want = {"kept": f"kept:{id}", "texts": 3, "places": "all", "shed": "", "limit": 1_000, **names}
    KEEP(store, entry="entry", id=id, ttl=60, want=json.dumps({**want, **changes}))


def test_a_served_message_waits_with_its_request(store: Store, redis: Redis) -> None:
    redis.hset("entry", "message", "x" * 100)
    keep(store)
    kept = redis.hgetall("kept:m")
    served_at = float(kept.pop(b"served_at"))
    assert abs(served_at - redis.time()[0]) <= 5
    assert kept == {b"message": b"x" * 100, b"texts": b"3", b"places": b"all", b"shed": b"", b"bytes": b"500"}
    assert 0 < redis.ttl("kept:m") <= 60
    assert redis.zscore("waiting", "m") == served_at
    assert redis.get("bytes") == b"500"
    assert redis.exists("entry", "stats") == 0


def test_a_message_whose_request_is_gone_is_only_noted(store: Store, redis: Redis) -> None:
    keep(store)
    assert redis.hmget("kept:m", ["shed", "bytes"]) == [b"request_lost", b"400"]


def test_a_message_that_is_shed_keeps_its_reason_and_not_its_request(store: Store, redis: Redis) -> None:
    redis.hset("entry", "message", "x")
    keep(store, shed="redis_memory")
    assert redis.hget("kept:m", "shed") == b"redis_memory"
    assert redis.hexists("kept:m", "message") is False


@pytest.mark.parametrize(("used", "shed"), [(999, b""), (1_000, b"queue_full"), (MIB, b"queue_full")])
def test_beyond_its_limit_the_queue_keeps_no_requests(
    store: Store, redis: Redis, used: int, shed: bytes
) -> None:
    redis.hset("entry", "message", "x")
    redis.set("bytes", used)
    keep(store)
    assert redis.hget("kept:m", "shed") == shed


@pytest.mark.parametrize(("over", "dropped"), [(0, None), (1, b"1")])
def test_far_beyond_its_limit_the_queue_only_counts(
    store: Store, redis: Redis, over: int, dropped: bytes | None
) -> None:
    redis.set("bytes", 1_250 + MIB + over)
    keep(store)
    assert redis.hget("stats", "dropped") == dropped
    assert redis.exists("kept:m") == (0 if dropped else 1)


def test_an_error_is_counted_and_leaves_nothing_half_done(store: Store, redis: Redis) -> None:
    redis.hset("entry", "message", "x")
    redis.set("waiting", "not what it should be")
    keep(store)
    assert redis.hget("stats", "dropped") == b"1"
    assert redis.exists("kept:m") == 0


def take(store: Store, **changes: Any) -> list[str]:
    names = {"waiting": "waiting", "bytes": "bytes", "stats": "stats", "unacked": "unacked"}
    queues = {"interactive": "interactive", "bulk": "bulk"}
    prefixes = {"kept_prefix": "kept:", "result_prefix": "result:", "dropped": "dropped"}
    limits = {"most_texts": 6, "most_messages": 9, "yields": "1", "alone": "0"}
    when = {"now": 100, "hold_until": 130, "holder": "me"}
    taken = TAKE(store, **{**names, **queues, **prefixes, **limits, **when, **changes})
    return [one[0].decode() for one in taken]


def wait(redis: Redis, *ids: str, texts: int = 3, at: float = 1) -> None:
    for place, name in enumerate(ids):
        redis.hset(f"kept:{name}", mapping={"texts": texts, "bytes": 500})
        redis.zadd("waiting", {name: at + place})
        redis.incrby("bytes", 500)


def test_the_messages_that_waited_longest_are_taken_together(store: Store, redis: Redis) -> None:
    wait(redis, "a", "b", "c")
    assert take(store) == ["a", "b"]
    assert redis.hmget("kept:a", ["holder", "tries"]) == [b"me", b"1"]
    assert redis.hexists("kept:c", "holder") is False
    assert redis.zrange("waiting", 0, -1, withscores=True) == [(b"c", 3.0), (b"a", 130.0), (b"b", 130.001)]


def test_a_message_is_taken_with_its_fields_and_its_outcome(store: Store, redis: Redis) -> None:
    wait(redis, "a")
    redis.set("result:a", "outcome")
    values = dict.fromkeys(TAKE.keys, "none") | {"waiting": "waiting"}
    more = {"now": 100, "hold_until": 130, "holder": "me", "most_texts": 6, "most_messages": 9}
    prefixes = {"kept_prefix": "kept:", "result_prefix": "result:", "dropped": "dropped"}
    [[_, fields, outcome]] = TAKE(store, **values, **more, **prefixes, yields="0", alone="0")
    assert dict(zip(fields[::2], fields[1::2], strict=True)) == {
        b"texts": b"3",
        b"bytes": b"500",
        b"holder": b"me",
        b"tries": b"1",
    }
    assert outcome == b"outcome"


def test_one_message_is_taken_however_long_it_is(store: Store, redis: Redis) -> None:
    wait(redis, "a", "b", texts=7)
    assert take(store) == ["a"]


def test_no_more_messages_are_taken_than_asked_for(store: Store, redis: Redis) -> None:
    wait(redis, *"abc", texts=1)
    assert take(store, most_messages=2) == ["a", "b"]


def test_a_held_message_is_taken_when_its_time_is_over(store: Store, redis: Redis) -> None:
    wait(redis, "a")
    take(store)
    assert take(store, now=129, holder="another") == []
    assert take(store, now=130, holder="another") == ["a"]
    assert redis.hmget("kept:a", ["holder", "tries"]) == [b"another", b"2"]


def test_a_message_that_expired_is_counted_and_leaves_the_queue(store: Store, redis: Redis) -> None:
    wait(redis, "a", "b")
    redis.delete("kept:a")
    assert take(store) == ["b"]
    assert redis.hget("stats", "dropped") == b"1"
    assert redis.exists("bytes") == 1
    redis.delete("kept:b")
    assert take(store, now=200) == []
    assert redis.exists("waiting", "bytes") == 0


@pytest.mark.parametrize("queue", ["interactive", "bulk"])
def test_shadow_work_yields_to_users(store: Store, redis: Redis, queue: str) -> None:
    wait(redis, "a")
    redis.lpush(queue, "a message")
    assert take(store) == []
    assert take(store, yields="0") == ["a"]


def test_shadow_work_may_wait_until_no_message_is_being_served(store: Store, redis: Redis) -> None:
    wait(redis, "a")
    redis.hset("unacked", "tag", "a message")
    assert take(store, alone="1") == []
    assert take(store, alone="0") == ["a"]


def test_a_version_is_noted_on_a_message_that_is_still_kept(store: Store, redis: Redis) -> None:
    wait(redis, "a")
    for name in ("a", "gone"):
        NOTE(store, kept=f"kept:{name}", version="base@4")
    assert redis.hget("kept:a", "doing") == b"base@4"
    assert redis.exists("kept:gone") == 0


def count(store: Store, messages: tuple[str, ...] = (), **pair: Any) -> Any:
    found = {
        "name": "a vs b",
        "counts": "counts",
        "rows": "rows",
        "samples": ["dis", "agree"],
        "drawn": "drawn",
        "fields": {},
        "sampled": [],
        **pair,
    }
    what = {"holder": "me", "kept": "kept:", "messages": list(messages), "pairs_key": "pairs", "now": 7}
    limits = {"retention": 60, "most_fields": 2, "sizes": [2, 1]}
    return COUNT(
        store, waiting="waiting", bytes="bytes", request=json.dumps({**what, **limits, "pairs": [found]})
    )


def test_a_message_is_counted_and_let_go_by_its_holder(store: Store, redis: Redis) -> None:
    wait(redis, "a", "b")
    take(store)
    assert count(store, ("a",), fields={"texts": 3}) == 1
    assert redis.hgetall("counts") == {b"texts": b"3"}
    assert redis.zrange("waiting", 0, -1) == [b"b"]
    assert redis.get("bytes") == b"500"
    assert count(store, ("b",), fields={"texts": 3}) == 1
    assert redis.hgetall("counts") == {b"texts": b"6"}
    assert redis.exists("waiting", "bytes", "kept:a", "kept:b") == 0
    assert redis.hgetall("pairs") == {b"a vs b": b"7"}
    assert all(0 < redis.ttl(key) <= 60 for key in ("counts", "pairs"))


def test_nothing_is_counted_unless_the_holder_has_every_message(store: Store, redis: Redis) -> None:
    wait(redis, "a", "b")
    take(store)
    redis.hset("kept:b", "holder", "another")
    assert count(store, ("a", "b"), fields={"texts": 6}) == 0
    assert redis.exists("counts", "pairs") == 0
    assert redis.exists("kept:a", "kept:b") == 2


def test_new_attributes_are_counted_while_there_is_room(store: Store, redis: Redis) -> None:
    names = {kind: json.dumps(["attribute", kind]) for kind in ("old", "new")}
    redis.hset("counts", mapping={names["old"]: 1, "texts": 1})
    count(store, fields={names["old"]: 1, names["new"]: 1, "texts": 1, "agreed": 1})
    assert redis.hgetall("counts") == {
        names["old"].encode(): b"2",
        b"texts": b"2",
        b"agreed": b"1",
    }


def test_the_lowest_scores_are_the_sample_and_drawn_rows_stay(store: Store, redis: Redis) -> None:
    redis.sadd("drawn", "drawn")
    sampled = [[1, 0.9, "drawn", "r0"], [1, 0.8, "high", "r1"], [1, 0.1, "low", "r2"], [1, 0.2, "next", "r3"]]
    count(store, sampled=[*sampled, [2, 0.5, "other", "r4"]])
    assert redis.zrange("dis", 0, -1) == [b"low", b"next"]
    assert redis.zrange("agree", 0, -1) == [b"other"]
    assert redis.hgetall("rows") == {b"drawn": b"r0", b"low": b"r2", b"next": b"r3", b"other": b"r4"}


def test_a_row_that_is_known_is_not_replaced(store: Store, redis: Redis) -> None:
    redis.hset("rows", "job", "labelled")
    count(store, sampled=[[1, 0.1, "job", "again"]])
    assert redis.hget("rows", "job") == b"labelled"
