"""The scripts of the delivery, each alone on a real Redis."""

import json
from typing import Any

import pytest
from redis import Redis

from pointsman_shared.store.connection import Store
from pointsman_shared.store.scripts import Script
from tests.support import lua

IDS = lua.library("shared/store/ids")
BURY = lua.library("shared/store/bury")
NO_EXTENSION = lua.library("workers/delivery/extend")
NOTING = (
    "local function extend(id, entry, ttl, extra) redis.call('SET', 'extra', id .. entry .. ttl .. extra) end"
)

ID_OF = Script("local raw = unpack(ARGV)\nreturn id_of(raw)", IDS)
EXTEND = Script("local id = unpack(ARGV)\nreturn {extend(id), 'nothing'}", NO_EXTENSION)
ATTEMPT = lua.script("workers/delivery/attempt")
CLOSE = lua.script("workers/delivery/close", BURY, NO_EXTENSION)
HOLD = lua.script("workers/delivery/hold")
LET_GO = lua.script("workers/delivery/let_go")
PROGRESS = lua.script("workers/delivery/progress")
CLOSE_AND_NOTE = lua.script("workers/delivery/close", BURY, NOTING)
QUEUED = lua.script("workers/delivery/queued", IDS)
REPUBLISH = lua.script("workers/delivery/republish")
TAKEN = lua.script("workers/delivery/taken", IDS)


def message(id: str) -> str:  # noqa: A002  what it is
    return json.dumps({"body": "Ym9keQ==", "headers": {"id": id}})


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (message("m"), b"m"),
        (json.dumps([json.loads(message("m")), "", "bulk"]), b"m"),
        ('{"id":"m"}', b"m"),
        ('{"id": "m", "headers": "' + "x" * 5_000 + '"}', b"m"),
        (message('"a\\b"'), b'"a\\b"'),
        (message("ends in \\"), b"ends in \\"),
        (message("größer 😀"), "größer 😀".encode()),
        (json.dumps({"headers": {"argsrepr": '{"id": "other"}', "id": "m", "root_id": "r"}}), b"m"),
        ('{"id": "torn', b""),
        ('{"id": "\\ud83d"}', b""),
        ("no message", b""),
    ],
)
def test_the_id_is_found_wherever_it_lies(store: Store, raw: str, found: bytes) -> None:
    assert ID_OF(store, raw=raw) == found


@pytest.mark.parametrize("is_open", [True, False])
def test_progress_is_stored_of_a_message_that_is_open(store: Store, redis: Redis, is_open: bool) -> None:
    redis.set("result", "outcome")
    if is_open:
        redis.hset("entry", "attempts", 1)
    PROGRESS(store, result="result", entry="entry", progress="half", ttl=60)
    assert redis.get("result") == (b"half" if is_open else b"outcome")
    assert (redis.ttl("result") > 0) is is_open


def test_without_a_feature_the_closing_does_nothing_more(store: Store, redis: Redis) -> None:
    assert EXTEND(store, id="m") == []
    assert redis.dbsize() == 0


def test_the_ids_of_a_part_of_a_queue_are_read(store: Store, redis: Redis) -> None:
    redis.rpush("queue", *map(message, "abcd"))
    assert QUEUED(store, queue="queue", first=1, last=2) == [b"b", b"c"]
    assert QUEUED(store, queue="absent", first=0, last=9) == []


def test_the_ids_of_taken_messages_are_read(store: Store, redis: Redis) -> None:
    redis.hset("unacked", mapping={tag: json.dumps([json.loads(message(tag)), "", "bulk"]) for tag in "ab"})
    assert sorted(TAKEN(store, unacked="unacked")) == [b"a", b"b"]


def attempt(store: Store, **changes: Any) -> Any:
    names = {name: name for name in ("result", "guard", "entry", "cancelled", "interrupted", "deferred")}
    values = {"id": "m", "worker": "w", "now": 7, "ttl": 60, "delivery": "first"}
    limits = {"most": 3, "calm_s": 30, "again_s": 5, "patience_s": 100, "digest": ""}
    return ATTEMPT(store, **{"index": "open", **names, **values, **limits, **changes})


def test_each_delivery_is_one_attempt(store: Store, redis: Redis) -> None:
    redis.hset("entry", "message", "raw")
    assert attempt(store) == [1, None]
    assert attempt(store) == [1, None]
    assert attempt(store, delivery="second", worker="v", now=9) == [2, None]
    assert redis.hmget("entry", ["worker", "started_at", "delivery"]) == [b"v", b"9", b"second"]
    assert redis.ttl("entry") == -1


def interrupt(store: Store, redis: Redis, name: str, times: int, at: float) -> None:
    """Attempt a message once more than it is interrupted."""
    redis.hset(f"entry:{name}", "message", "raw")
    for place in range(times + 1):
        attempt(store, id=name, entry=f"entry:{name}", now=at, delivery=f"{name} {place}")


def test_a_message_that_was_interrupted_is_noted_with_the_moment(store: Store, redis: Redis) -> None:
    interrupt(store, redis, "m", times=0, at=7)
    assert redis.exists("interrupted") == 0
    interrupt(store, redis, "n", times=1, at=8)
    assert redis.zrange("interrupted", 0, -1, withscores=True) == [(b"n", 8.0)]
    assert 0 < redis.ttl("interrupted") <= 30


def last_attempt(store: Store, now: float, delivery: str = "last") -> Any:
    return attempt(store, entry="entry:m", now=now, delivery=delivery)


def test_the_last_attempt_is_deferred_while_others_are_interrupted(store: Store, redis: Redis) -> None:
    interrupt(store, redis, "m", times=1, at=7)
    interrupt(store, redis, "other", times=1, at=8)
    assert last_attempt(store, now=10) == [-2, None]
    assert redis.hget("entry:m", "attempts") == b"2"
    assert redis.zscore("deferred", "m") == 15
    assert redis.zscore("open", "m") == 15


def test_the_last_attempt_is_made_when_only_this_message_is_interrupted(store: Store, redis: Redis) -> None:
    interrupt(store, redis, "m", times=1, at=7)
    assert last_attempt(store, now=10) == [3, None]
    assert redis.exists("deferred") == 0


@pytest.mark.parametrize(("waited_s", "attempts"), [(30, 3), (29, -2)])
def test_an_interruption_of_others_counts_until_it_has_been_calm_for_long(
    store: Store, redis: Redis, waited_s: int, attempts: int
) -> None:
    interrupt(store, redis, "other", times=1, at=8)
    interrupt(store, redis, "m", times=1, at=8)
    assert last_attempt(store, now=8 + waited_s) == [attempts, None]


@pytest.mark.parametrize(("waited_s", "attempts"), [(100, 3), (99, -2)])
def test_the_last_attempt_is_not_deferred_for_ever(
    store: Store, redis: Redis, waited_s: int, attempts: int
) -> None:
    interrupt(store, redis, "m", times=1, at=7)
    redis.zadd("interrupted", {"other": 7})
    assert last_attempt(store, now=10) == [-2, None]
    redis.zadd("interrupted", {"other": 10 + waited_s})
    assert last_attempt(store, now=10 + waited_s, delivery="later") == [attempts, None]


def test_a_message_that_proves_to_be_poison_says_nothing_about_the_others(store: Store, redis: Redis) -> None:
    interrupt(store, redis, "poison", times=3, at=7)
    assert redis.zscore("interrupted", "poison") is None


def test_a_message_that_could_not_be_published_again_is_not_deferred(store: Store, redis: Redis) -> None:
    interrupt(store, redis, "other", times=1, at=7)
    interrupt(store, redis, "m", times=1, at=7)
    redis.hdel("entry:m", "message")
    assert last_attempt(store, now=10) == [3, None]


def test_an_entry_without_its_message_expires(store: Store, redis: Redis) -> None:
    assert attempt(store) == [1, None]
    assert 0 < redis.ttl("entry") <= 60


@pytest.mark.parametrize("guarded", [True, False])
def test_a_message_that_succeeded_is_finished(store: Store, redis: Redis, guarded: bool) -> None:
    redis.hset("entry", "message", "raw")
    redis.zadd("open", {"m": 1})
    outcome = '{"status": "SUCCESS"}'
    redis.set("guard" if guarded else "elsewhere", "1")
    redis.set("result", outcome)
    assert attempt(store) == [0, outcome.encode()]
    assert redis.exists("entry", "open") == 0


def test_a_proven_message_whose_outcome_is_gone_is_finished(store: Store, redis: Redis) -> None:
    redis.set("guard", "1")
    assert attempt(store) == [0, None]


def test_a_failed_message_may_be_attempted_again(store: Store, redis: Redis) -> None:
    redis.set("result", '{"status": "FAILURE"}')
    assert attempt(store) == [1, None]


def test_a_message_of_a_cancelled_batch_is_not_attempted(store: Store, redis: Redis) -> None:
    redis.set("cancelled", "1")
    assert attempt(store) == [-1, None]
    assert redis.exists("entry") == 0


@pytest.mark.parametrize("place", ["in flight", "done"])
def test_another_request_under_the_same_id_is_not_attempted(store: Store, redis: Redis, place: str) -> None:
    assert attempt(store, digest="one") == [1, None]
    if place == "done":
        assert close(store) is None
        assert redis.get("guard") == b"one"
    assert attempt(store, digest="two") == [-3, None]
    assert attempt(store, digest="one")[0] >= 0
    assert attempt(store)[0] >= 0


def close(store: Store, script: Script = CLOSE, outcome: str = "outcome", **changes: Any) -> Any:
    what = {"ttl": 60, "guard": True, "counters": {"done": 2}, "channel": "", **changes}
    names = {"result": "result", "guard": "guard", "entry": "entry", "index": "open", "batch": "batch"}
    letters = {"letter": "dead:m", "letters": "dead"}
    return script(store, **names, **letters, id="m", outcome=outcome, request=json.dumps(what))


def test_the_first_outcome_is_stored_and_counted(store: Store, redis: Redis) -> None:
    redis.hset("entry", "message", "raw")
    redis.zadd("open", {"m": 1})
    redis.hset("dead:m", "reason", "an earlier attempt")
    redis.zadd("dead", {"m": 1})
    assert close(store) is None
    assert redis.get("result") == b"outcome"
    assert redis.hgetall("batch") == {b"done": b"2"}
    assert redis.exists("entry", "open", "dead:m", "dead") == 0
    assert all(0 < redis.ttl(key) <= 60 for key in ("result", "guard", "batch"))


def test_a_second_outcome_changes_nothing_and_gets_the_first(store: Store, redis: Redis) -> None:
    close(store)
    redis.hset("entry", "message", "raw")
    assert close(store, outcome="another") == b"outcome"
    assert redis.get("result") == b"outcome"
    assert redis.hget("batch", "done") == b"2"
    assert redis.exists("entry") == 0


def test_an_outcome_without_a_proof_may_be_replaced(store: Store, redis: Redis) -> None:
    close(store, guard=False, counters={})
    assert redis.exists("guard") == 0
    assert close(store, outcome="better", counters={}) is None
    assert redis.get("result") == b"better"


def letter(attempts: int) -> dict[str, Any]:
    fields = {"reason": "failed", "attempts": attempts}
    return {"fields": fields, "at": 100, "ttl": 60, "most": 9, "prefix": "dead:"}


@pytest.mark.parametrize(("known", "kept"), [(0, b"3"), (2, b"2")])
def test_a_failed_message_becomes_a_dead_letter_with_what_the_entry_knows(
    store: Store, redis: Redis, known: int, kept: bytes
) -> None:
    redis.hset("entry", mapping={"message": "raw", "queue": "bulk", "at": 5, "attempts": 3})
    close(store, letter=letter(known))
    assert redis.hgetall("dead:m") == {
        b"reason": b"failed",
        b"attempts": kept,
        b"payload": b"raw",
        b"queue": b"bulk",
        b"submitted_at": b"5",
    }
    assert redis.zrange("dead", 0, -1) == [b"m"]


def test_a_failed_message_without_an_entry_becomes_a_dead_letter(store: Store, redis: Redis) -> None:
    close(store, letter=letter(1))
    assert redis.hgetall("dead:m") == {b"reason": b"failed", b"attempts": b"1"}


def test_a_feature_adds_to_the_first_closing_only(store: Store, redis: Redis) -> None:
    close(store, CLOSE_AND_NOTE)
    assert redis.exists("extra") == 0
    redis.delete("guard")
    close(store, CLOSE_AND_NOTE, extra="!")
    assert redis.get("extra") == b"mentry60!"
    redis.delete("extra")
    close(store, CLOSE_AND_NOTE, extra="!")
    assert redis.exists("extra") == 0


def test_the_waiting_clients_hear_of_every_closing(store: Store, redis: Redis) -> None:
    with redis.pubsub() as heard:  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
        heard.subscribe("result", "reply")
        for _ in range(2):
            heard.get_message(timeout=5)
        for _ in range(2):
            close(store, channel="reply")
        messages = [heard.get_message(timeout=5) for _ in range(3)]
    assert [(one["channel"], one["data"]) for one in messages] == [
        (b"result", b"outcome"),
        (b"reply", b"m"),
        (b"reply", b"m"),
    ]


def republish(store: Store, *, is_deferred: bool = False) -> Any:
    names = {"index": "open", "entry": "entry", "guard": "guard", "queue": "bulk", "stats": "stats"}
    values = {"id": "m", "now": 7, "message": "raw", "is_deferred": int(is_deferred)}
    return REPUBLISH(store, **names, deferred="deferred", **values)


def test_a_lost_message_is_the_next_to_be_taken(store: Store, redis: Redis) -> None:
    redis.rpush("bulk", "waiting")
    redis.hset("entry", mapping={"message": "raw", "alive_at": 5})
    assert republish(store) == 1
    assert redis.lrange("bulk", 0, -1) == [b"waiting", b"raw"]
    assert redis.hgetall("entry") == {b"message": b"raw"}
    assert redis.zscore("open", "m") == 7
    assert redis.hgetall("stats") == {b"republished": b"1"}


def test_a_deferred_message_is_published_once_and_is_not_counted_as_lost(store: Store, redis: Redis) -> None:
    redis.hset("entry", "message", "raw")
    redis.zadd("deferred", {"m": 1})
    assert [republish(store, is_deferred=True) for _ in range(2)] == [1, 0]
    assert redis.lrange("bulk", 0, -1) == [b"raw"]
    assert redis.exists("stats", "deferred") == 0


@pytest.mark.parametrize("guarded", [True, False])
def test_a_message_that_is_done_or_unknown_is_not_published_again(
    store: Store, redis: Redis, guarded: bool
) -> None:
    redis.zadd("open", {"m": 1})
    redis.hset("entry", "message" if guarded else "attempts", "1")
    redis.set("guard" if guarded else "elsewhere", "1")
    assert republish(store) == 0
    assert redis.exists("bulk", "entry", "open", "stats") == 0


def hold(store: Store, at: int) -> None:
    HOLD(store, unacked="unacked", index="index", tag="t", now=at, held="message")


def let_go(store: Store, push: str = "", latest: float | str = "") -> None:
    names = {"unacked": "unacked", "index": "index", "queue": "queue"}
    LET_GO(store, **names, tag="t", latest=latest, push=push, message="again" if push else "")


@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize(
    ("push", "queued"), [("", []), ("LPUSH", [b"again", b"o"]), ("RPUSH", [b"o", b"again"])]
)
def test_a_message_is_held_and_goes_back_once_also_where_redis_is_full(
    store: Store, redis: Redis, is_full: bool, push: str, queued: list[bytes]
) -> None:
    if push:
        redis.lpush("queue", "o")
    redis.config_set("maxmemory", int(is_full))
    hold(store, 7)
    assert (redis.zscore("index", "t"), redis.hgetall("unacked")) == (7, {b"t": b"message"})
    for _ in range(2):
        let_go(store, push)
    redis.config_set("maxmemory", 0)
    assert redis.lrange("queue", 0, -1) == queued
    assert not redis.exists("index", "unacked")


def test_a_message_that_was_taken_again_meanwhile_stays_with_its_worker(store: Store, redis: Redis) -> None:
    hold(store, 7)
    let_go(store, "RPUSH", latest=6.9)
    assert redis.hlen("unacked") == redis.zcard("index") == 1
    let_go(store, "RPUSH", latest=7.1)
    assert redis.lrange("queue", 0, -1) == [b"again"]
