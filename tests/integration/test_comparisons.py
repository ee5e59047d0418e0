"""The store of comparisons in a real Redis."""

import json
import random
import time
from collections.abc import Mapping, Sequence

import pytest
from redis import Redis

from pointsman_models.comparison import counts
from pointsman_models.data import tiers
from pointsman_shared import names
from pointsman_shared.settings import Settings
from pointsman_shared.store.connection import Store
from pointsman_shared.store.labels import Labels
from pointsman_shared.wire import shadow as wire
from pointsman_workers.shadow.queries import Queries
from pointsman_workers.shadow.runner import text_score
from pointsman_workers.shadow.store import Addition, Comparisons, Kind, Row
from tests.support.default_keys import keys
from tests.support.ledgers import open_ledger
from tests.support.running import DATA

PAIR = "pro@7 vs base@4"
INTENTS = [f"intent_{number}" for number in range(22)]


@pytest.fixture
def kept(store: Store, settings: Settings) -> Comparisons:
    return Comparisons(store, settings)


def row(number: int) -> Row:
    return {"text": f"text {number}", "served": "greeting", "candidate": "goodbye"}


def add(
    kept: Comparisons, fields: Mapping[str, int], sampled: Sequence[tuple[Kind, float, str, Row]] = ()
) -> bool:
    return kept.add("token", [], {PAIR: Addition(fields=fields, sampled=sampled)})


def test_all_pairs_of_a_message_are_counted_together(redis: Redis, kept: Comparisons) -> None:
    found = Addition(fields={'["texts","day","d"]': 3})
    assert kept.add("token", [], {PAIR: found, "pro@7 vs pro@8": found})
    assert kept.fields(PAIR) == kept.fields("pro@7 vs pro@8") == {'["texts","day","d"]': 3}
    assert set(kept.pairs()) == {PAIR, "pro@7 vs pro@8"}
    assert all(redis.ttl(key) > 0 for key in redis.scan_iter("*"))


def test_nothing_is_counted_of_a_message_that_another_worker_holds(redis: Redis, kept: Comparisons) -> None:
    redis.hset(keys.shadow_kept("m"), "holder", "another")
    assert not kept.add("token", ["m"], {PAIR: Addition(fields={'["texts","day","d"]': 3})})
    assert kept.fields(PAIR) == {}
    assert redis.exists(keys.shadow_kept("m"))


def test_what_is_shed_because_redis_is_full_is_counted_all_the_same(redis: Redis, kept: Comparisons) -> None:
    assert add(kept, {'["texts","day","d"]': 3})
    redis.hset(keys.shadow_kept("m"), "holder", "token")
    redis.config_set("maxmemory", 1)
    try:
        assert kept.add("token", ["m"], {PAIR: Addition(fields={'["texts","day","d"]': 4})})
    finally:
        redis.config_set("maxmemory", 0)
    assert kept.fields(PAIR) == {'["texts","day","d"]': 7}


def test_the_sample_is_the_lowest_scores_whatever_the_order(store: Store, settings: Settings) -> None:
    kept = Comparisons(store, settings, samples=20)
    jobs = [f"m:{number}" for number in range(300)]
    random.shuffle(jobs)
    for start in range(0, 300, 50):
        chunk = [
            ("disagreements", text_score(job), job, row(start))
            for job in jobs[start : start + 50]
            if text_score(job) < kept.thresholds(PAIR)["disagreements"]
        ]
        add(kept, {}, chunk)  # type: ignore[arg-type]
    sampled = kept.sample(PAIR, "disagreements")
    assert sampled == sorted(jobs, key=text_score)[:20]
    assert kept.rows(PAIR).keys() == set(sampled)


def test_rows_that_were_drawn_for_labelling_stay(store: Store, settings: Settings) -> None:
    kept = Comparisons(store, settings, samples=1)
    add(kept, {}, [("disagreements", 0.5, "a:0", row(0))])
    kept.hand_out(PAIR, ["a:0"])
    add(kept, {}, [("disagreements", 0.1, "b:0", row(1))])
    assert kept.sample(PAIR, "disagreements") == ["b:0"]
    assert kept.rows(PAIR).keys() == {"a:0", "b:0"}


def test_a_corrected_label_keeps_its_place(store: Store, settings: Settings) -> None:
    labels = Labels(store, settings)
    for job, intent in (("a:0", "greeting"), ("b:0", "goodbye"), ("c:0", "hours"), ("a:0", "hours")):
        labels.add(job, {"intent": intent, "text": None})
    assert [(job, label["intent"], label["text"]) for job, label in labels.all().items()] == [
        ("a:0", "hours", None),
        ("b:0", "goodbye", None),
        ("c:0", "hours", None),
    ]
    assert list(labels.of(["c:0", "unknown:0", "a:0"])) == ["a:0", "c:0"]
    assert labels.of([]) == {}


def test_labels_expire(store: Store, settings: Settings, redis: Redis) -> None:
    labels = Labels(store, settings)
    labels.add("old:0", {"intent": "greeting"})
    old = time.time() - settings.label_retention_s - 1
    redis.hset(keys.labels, "old:0", json.dumps({"intent": "greeting", "at": old, "place": 1}))
    redis.zadd(keys.label_times, {"old:0": old})
    assert labels.all() == labels.of(["old:0"]) == {}
    labels.add("new:0", {"intent": "greeting"})
    assert redis.hkeys(keys.labels) == redis.zrange(keys.label_times, 0, -1) == [b"new:0"]
    assert 0 < redis.ttl(keys.labels) <= settings.label_retention_s


def test_a_label_reads_the_rows_of_its_own_jobs_only(
    store: Store, settings: Settings, redis: Redis, kept: Comparisons
) -> None:
    for pair in (PAIR, "base@1 vs pro@9"):
        for place in range(3):
            redis.hset(keys.shadow_rows(pair), f"{pair}:{place}", json.dumps(row(place)))
        redis.hset(keys.shadow_counts(pair), "texts", 1)
        redis.hset(keys.shadow_pairs, pair, 1)
    known = kept.rows_of([f"{PAIR}:1", "unknown:0"])
    assert known == {f"{PAIR}:1": row(1)}
    assert kept.rows_of([]) == {}
    redis.config_resetstat()
    assert label(store, settings, f"{PAIR}:1", "greeting") is None
    assert redis.info("commandstats")["cmdstat_hgetall"]["calls"] == 1, "the names of the pairs, no rows"


def label(store: Store, settings: Settings, job: str, intent: str) -> str | None:
    """Label a job, and return why that was refused."""
    declared = tiers.declaration(DATA / tiers.FILE_NAME).tiers
    queries = Queries(Comparisons(store, settings), Labels(store, settings), lambda: declared)
    given = {"job_id": job, "intent": intent, "by": "marge"}
    answer = queries.answer(wire.Query.parse({"action": "label", "labels": [given]}))
    assert answer["accepted"] + len(answer["rejected"]) == 1
    return answer["rejected"][0]["reason"] if answer["rejected"] else None


def test_only_a_job_that_there_is_can_be_labelled_and_only_with_an_intent_that_there_is(
    store: Store, settings: Settings
) -> None:
    open_ledger(settings).finish("served", {"intent": ["greeting", "goodbye"]})
    open_ledger(settings).finish("trained", {"version": 3})
    assert label(store, settings, "served:1", "payment_methods") is None
    assert label(store, settings, "served:0", "out_of_scope") is None
    for job in ("served:2", "trained:0", "nosuch:0"):
        assert label(store, settings, job, "greeting") == "there is no such job, or its outcome has expired"
    refused = label(store, settings, "served:0", "greating")
    assert refused == "there is no intent 'greating'; did you mean 'greeting'?"
    assert label(store, settings, "served:0", "xyzzy") == "there is no intent 'xyzzy'"
    assert "expected MESSAGE_ID:PLACE" in (label(store, settings, "served", "greeting") or "")
    assert Labels(store, settings).all().keys() == {"served:1", "served:0"}


def test_work_is_shed_while_redis_is_full(store: Store, settings: Settings) -> None:
    assert Comparisons(store, settings).pressure() is None
    assert Comparisons(store, settings, max_memory=1e-9).pressure() == "redis_memory"


@pytest.mark.slow
def test_two_hundred_thousand_texts_take_a_few_megabytes(redis: Redis, kept: Comparisons) -> None:
    chance = random.Random(7)
    for message in range(400):
        served, candidate = ([chance.choice(INTENTS) for _ in range(500)] for _ in range(2))
        sure = [chance.random() for _ in range(500)]
        found = counts.observe(
            counts.Answered(intent=served, confidence=sure, inference_ms=9.0),
            counts.Answered(intent=candidate, confidence=sure, inference_ms=9.0),
            day=f"2026-11-{1 + message % 28:02}",
            attributes={"plan": [chance.choice(["free", "pro", None]) for _ in range(500)]},
        )
        limits = kept.thresholds(PAIR)
        chosen = []
        for place in range(500):
            job = names.job_id(f"00000000-0000-4000-8000-{message:012}", place)
            kind = "agreements" if served[place] == candidate[place] else "disagreements"
            if (score := text_score(job)) < limits[kind]:  # type: ignore[index]
                chosen.append((kind, score, job, {**row(place), "text": "x" * 100}))
        add(kept, found.fields(), chosen)  # type: ignore[arg-type]
    total = counts.Comparison.from_fields(kept.fields(PAIR))
    size = sum(redis.memory_usage(key, samples=0) or 0 for key in redis.scan_iter("*"))
    assert total.texts == 200_000
    assert len(kept.sample(PAIR, "disagreements")) == 1_000
    assert size < 2_000_000


def test_trouble_that_has_ended_leaves_nothing(redis: Redis, kept: Comparisons) -> None:
    kept.trouble("pro@8", {"failures": 3})
    assert redis.hkeys(keys.shadow_trouble) == [b"pro@8"]
    kept.trouble("pro@8", None)
    assert not redis.exists(keys.shadow_trouble)


def test_a_pair_whose_counts_have_expired_is_forgotten(redis: Redis, kept: Comparisons) -> None:
    redis.hset(keys.shadow_pairs, PAIR, 12.5)
    redis.hset(keys.shadow_pairs, "gone", 11.5)
    redis.hset(keys.shadow_counts(PAIR), "texts", 1)
    assert kept.pairs() == {PAIR: 12.5}
    assert redis.hkeys(keys.shadow_pairs) == [PAIR.encode()]


def test_handing_out_no_job_writes_nothing(redis: Redis, kept: Comparisons) -> None:
    kept.hand_out(PAIR, [])
    assert redis.dbsize() == 0
