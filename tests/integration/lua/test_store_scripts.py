"""The scripts of the store, each alone on a real Redis."""

import json
import time
from typing import Any

import pytest
from redis import Redis

from pointsman_shared.store.connection import Store
from pointsman_shared.store.scripts import Script
from tests.support import lua

BEAT = lua.script("shared/store/beat")
BURY = lua.library("shared/store/bury")
# The library's function, called with what stands in the arguments.
BURIAL = Script(
    """
local letter, index = unpack(KEYS)
local id, what = unpack(ARGV)
bury(letter, index, id, cjson.decode(what))
""",
    BURY,
)
KEEP = lua.script("shared/store/keep_letter", BURY)
LOOK = lua.script("shared/store/look", lua.library("shared/store/ids"))
LABEL = lua.script("shared/store/label")
REPLAY = lua.script("shared/store/replay")
CLAIM = lua.script("shared/store/training_claim")


def burial(**changes: Any) -> str:
    fields = {"reason": "failed", "attempts": 3}
    return json.dumps({"fields": fields, "at": 100, "ttl": 60, "most": 2, "prefix": "dead:", **changes})


def bury(store: Store, id: str, **changes: Any) -> None:  # noqa: A002  the script's name of it
    BURIAL(store, letter=f"dead:{id}", index="dead", id=id, what=burial(**changes))


def test_a_dead_letter_is_kept_for_its_time(store: Store, redis: Redis) -> None:
    bury(store, "m")
    assert redis.hgetall("dead:m") == {b"reason": b"failed", b"attempts": b"3"}
    assert 0 < redis.ttl("dead:m") <= 60
    assert redis.zrange("dead", 0, -1, withscores=True) == [(b"m", 100.0)]


def test_of_too_many_dead_letters_the_oldest_goes(store: Store, redis: Redis) -> None:
    for place, name in enumerate(("a", "b", "c")):
        bury(store, name, at=100 + place)
    assert redis.zrange("dead", 0, -1) == [b"b", b"c"]
    assert [redis.exists(f"dead:{name}") for name in ("a", "b", "c")] == [0, 1, 1]


def test_dead_letters_past_their_time_leave_the_index(store: Store, redis: Redis) -> None:
    bury(store, "old", at=100)
    bury(store, "younger", at=101)
    bury(store, "new", at=160)
    assert redis.zrange("dead", 0, -1) == [b"younger", b"new"]


def test_what_cannot_be_read_is_kept_with_its_bytes(store: Store, redis: Redis) -> None:
    KEEP(store, letter="dead:m", index="dead", id="m", payload=b"\xff\x00", what=burial())
    assert redis.hget("dead:m", "payload") == b"\xff\x00"
    assert redis.hget("dead:m", "reason") == b"failed"
    assert redis.zrange("dead", 0, -1) == [b"m"]


def look(store: Store) -> Any:
    return LOOK(store, queue="queue", entries="open:")


def test_a_queue_is_as_long_as_it_is_and_as_old_as_its_next_message(store: Store, redis: Redis) -> None:
    for name, age_s in (("first", 500), ("second", 200)):
        redis.lpush("queue", json.dumps({"body": "b", "headers": {"id": name}}))
        redis.hset(f"open:{name}", "at", redis.time()[0] - age_s)
    length, age_s = look(store)
    assert length == 2
    assert 500 <= age_s <= 505


@pytest.mark.parametrize("raw", ['{"id": "unknown"}', "no message"])
def test_a_message_without_an_entry_has_no_age(store: Store, redis: Redis, raw: str) -> None:
    redis.lpush("queue", raw)
    assert look(store) == [1, None]


def test_an_empty_queue_has_no_age(store: Store, redis: Redis) -> None:
    assert look(store) == [0, None]


def test_the_id_of_a_long_message_is_found(store: Store, redis: Redis) -> None:
    redis.lpush("queue", json.dumps({"body": '"id": "' + "x" * 10_000, "headers": {"id": "m"}}))
    redis.hset("open:m", "at", 5)
    length, age_s = look(store)
    assert (length, age_s > 1_000_000) == (1, True)


def replay(store: Store) -> Any:
    names = {"letter": "dead:m", "index": "dead", "result": "result", "guard": "guard", "entry": "entry"}
    return REPLAY(store, **names, open="open", id="m", now=7, batches="batch:")


def give_up(redis: Redis, **counts: str | int) -> None:
    for name, value in {"payload": "raw", "queue": "bulk", **counts}.items():
        redis.hset("dead:m", name, value)
    redis.zadd("dead", {"m": 1})
    redis.set("guard", "1")
    redis.set("result", "failed")


def test_a_dead_letter_is_put_back_on_its_queue_once(store: Store, redis: Redis) -> None:
    give_up(redis, counted=2, batch="b")
    redis.hset("batch:b", mapping={"failed": 5})
    assert [replay(store), replay(store)] == [1, 0]
    assert redis.lrange("bulk", 0, -1) == [b"raw"]
    assert redis.hgetall("entry") == {b"queue": b"bulk", b"message": b"raw", b"at": b"7"}
    assert redis.zscore("open", "m") == 7
    assert redis.exists("dead:m", "dead", "guard", "result") == 0
    assert redis.hget("batch:b", "failed") == b"3"


def test_replaying_counts_nothing_in_a_batch_that_is_gone(store: Store, redis: Redis) -> None:
    give_up(redis, counted=2, batch="b")
    assert replay(store) == 1
    assert redis.exists("batch:b") == 0


def test_replaying_a_message_outside_a_batch_counts_nothing(store: Store, redis: Redis) -> None:
    give_up(redis)
    assert replay(store) == 1
    assert list(redis.scan_iter("batch:*")) == []


def claim(store: Store, action: str, run: str = "", holder: str = "") -> Any:
    names = {"claim": "claim", "entry": "entry", "guard": f"guard:{run}"}
    prefixes = {"entries": "entry:", "guards": "guard:"}
    return CLAIM(store, **names, **prefixes, action=action, run=run, holder=holder, ttl=5)


def test_a_booked_tier_names_its_run_to_the_next_producer(store: Store, redis: Redis) -> None:
    assert claim(store, "book", "one") == b"one"
    assert claim(store, "book", "two") == b"one"
    assert -1 < float(redis.hget("claim", "ends") or 0) - time.time() - 5 < 1


@pytest.mark.parametrize("holder", ["", "the dead"])
def test_a_silent_run_keeps_its_tier_for_as_long_as_the_ledger_knows_it(
    store: Store, redis: Redis, holder: str
) -> None:
    redis.hset("claim", mapping={"id": "one", "holder": holder, "ends": time.time() - 1, "cancel": "marge"})
    redis.hset("entry:one", "message", "raw")
    assert claim(store, "book", "two") == b"one"
    assert claim(store, "claim", "two", "another") == b"one"
    assert claim(store, "cancel", holder="lisa") == b"one"
    assert claim(store, "claim", "one", "another") == b"mine"
    assert redis.hget("claim", "cancel") == b"lisa"
    redis.hset("claim", "ends", time.time() - 1)
    redis.delete("entry:one")
    assert claim(store, "cancel", holder="lisa") is None
    assert claim(store, "claim", "two", "another") == b"mine"
    assert redis.hget("claim", "cancel") is None


def test_a_booking_is_withdrawn_by_its_own_run_only_and_not_while_a_trainer_works(store: Store) -> None:
    claim(store, "book", "one")
    claim(store, "unbook", "two")
    assert claim(store, "book", "two") == b"one"
    claim(store, "unbook", "one")
    assert claim(store, "book", "two") == b"two"
    claim(store, "claim", "two", "trainer")
    claim(store, "unbook", "two")
    assert claim(store, "book", "three") == b"two"


def test_one_trainer_holds_a_tier_for_one_run(store: Store) -> None:
    claim(store, "book", "one")
    assert claim(store, "claim", "one", "trainer") == b"mine"
    assert claim(store, "claim", "one", "trainer") == b"mine"
    assert claim(store, "claim", "one", "another") == b"held"
    assert claim(store, "claim", "two", "another") == b"one"


def test_a_tier_is_free_for_producers_as_soon_as_its_run_has_its_outcome(store: Store, redis: Redis) -> None:
    claim(store, "claim", "one", "trainer")
    claim(store, "cancel", holder="marge")
    redis.set("guard:one", "1")
    assert claim(store, "cancel", holder="marge") is None
    assert claim(store, "book", "two") == b"two"
    assert redis.hmget("claim", "id", "holder", "cancel") == [b"two", b"", None]
    assert claim(store, "renew", "one", "trainer") == b"lost"
    claim(store, "release", "one", "trainer")
    assert redis.hget("claim", "id") == b"two"


def test_a_run_with_effects_is_done_for_every_trainer_that_claims_it(store: Store, redis: Redis) -> None:
    redis.set("guard:one", "1")
    assert claim(store, "claim", "one", "trainer") == b"done"
    assert redis.exists("claim") == 0


def test_only_its_holder_releases_a_claim(store: Store, redis: Redis) -> None:
    claim(store, "claim", "one", "trainer")
    claim(store, "release", "one", "another")
    assert redis.exists("claim") == 1
    claim(store, "release", "one", "trainer")
    assert redis.exists("claim") == 0


def test_the_next_delivery_takes_an_abandoned_claim_and_no_other_run_does(store: Store, redis: Redis) -> None:
    redis.hset("entry:one", "message", "{}")
    claim(store, "claim", "one", "trainer")
    claim(store, "cancel", holder="marge")
    claim(store, "abandon", "two")
    assert claim(store, "claim", "one", "another") == b"held"
    claim(store, "abandon", "one")
    assert claim(store, "claim", "two", "another") == b"one"
    assert claim(store, "claim", "one", "another") == b"mine"
    assert claim(store, "renew", "one", "another") == b"cancelled"


def test_a_claim_is_renewed_for_its_holder_and_lost_to_another(store: Store, redis: Redis) -> None:
    claim(store, "claim", "one", "trainer")
    redis.hset("claim", "ends", time.time() + 1)
    assert claim(store, "renew", "one", "trainer") == b"mine"
    assert float(redis.hget("claim", "ends") or 0) > time.time() + 4
    assert claim(store, "renew", "one", "another") == b"lost"


def test_the_holder_of_a_cancelled_run_hears_of_it(store: Store, redis: Redis) -> None:
    assert claim(store, "cancel", holder="marge") is None
    claim(store, "claim", "one", "trainer")
    assert claim(store, "cancel", holder="marge") == b"one"
    assert redis.hget("claim", "cancel") == b"marge"
    assert claim(store, "renew", "one", "trainer") == b"cancelled"


@pytest.mark.parametrize(("worked_s", "attempts"), [(50, b"2"), (61, b"0")])
def test_a_run_that_worked_for_a_minute_is_no_poison(
    store: Store, redis: Redis, worked_s: int, attempts: bytes
) -> None:
    started_at = redis.time()[0] - worked_s
    redis.hset("entry", mapping={"message": "raw", "started_at": started_at, "attempts": 2})
    claim(store, "renew", "one", "trainer")
    assert redis.hget("entry", "attempts") == attempts
    assert abs(float(redis.hget("entry", "alive_at") or 0) - started_at - worked_s) <= 5


def test_a_run_without_an_entry_gets_none(store: Store, redis: Redis) -> None:
    claim(store, "renew", "one", "trainer")
    assert redis.exists("entry") == 0


def label(store: Store, job: str, intent: str, at: float = 100) -> None:
    names = {"labels": "labels", "times": "times", "count": "count"}
    LABEL(store, **names, job=job, row=json.dumps({"intent": intent}), at=at, retention=60)


def test_a_corrected_label_keeps_its_place(store: Store, redis: Redis) -> None:
    for job, intent in (("a", "greeting"), ("b", "goodbye"), ("a", "hours")):
        label(store, job, intent)
    found = [json.loads(row) for row in redis.hmget("labels", ["a", "b"]) if row]
    assert found == [{"intent": "hours", "place": 1, "at": 100}, {"intent": "goodbye", "place": 2, "at": 100}]
    assert all(0 < redis.ttl(key) <= 60 for key in ("labels", "times", "count"))


def test_a_label_that_is_older_than_its_time_goes_with_the_next_one(store: Store, redis: Redis) -> None:
    for job, at in (("old", 100), ("corrected", 100), ("corrected", 101), ("new", 160)):
        label(store, job, "greeting", at)
    assert set(redis.hkeys("labels")) == set(redis.zrange("times", 0, -1)) == {b"corrected", b"new"}


@pytest.mark.parametrize("is_full", [False, True])
def test_a_worker_writes_its_heartbeat_also_where_redis_is_full(
    store: Store, redis: Redis, is_full: bool
) -> None:
    redis.config_set("maxmemory", int(is_full))
    for at in (7, 8):
        BEAT(store, pulse="pulse", heard_at=at, ttl_ms=60_000)
    redis.config_set("maxmemory", 0)
    assert redis.get("pulse") == b"8"
    assert 0 < redis.pttl("pulse") <= 60_000
