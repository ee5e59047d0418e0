"""Shadow work on a real Redis with small real models: what is counted, what is kept, what is left out."""

import base64
import json
import time
from collections.abc import Sequence
from typing import Any

import pytest
from redis import Redis

from pointsman_models.comparison.counts import Comparison, Tally
from pointsman_models.inference.classifier import Classifier
from pointsman_models.registry.aliases import Aliases
from pointsman_shared import errors, names
from pointsman_shared.settings import Settings
from pointsman_shared.store.connection import Store
from pointsman_shared.wire import jobs
from pointsman_workers.serving import classify
from pointsman_workers.shadow import backlog, redaction
from pointsman_workers.shadow.backlog import Backlog
from pointsman_workers.shadow.candidates import Candidates
from pointsman_workers.shadow.runner import MAX_AGE_S, Runner
from pointsman_workers.shadow.store import SAMPLES, Comparisons
from tests.support import tiny
from tests.support.default_keys import keys
from tests.support.flags import plan_router
from tests.support.ledgers import open_ledger

TIER_PAIR, CANDIDATE_PAIR = "base@1 vs pro@2", "base@1 vs base@3"
TEXTS = [text for utterances in tiny.UTTERANCES.values() for text in utterances]
ANN, BOB = (
    jobs.User(id=name, custom={"plan": "free", "language": language})
    for name, language in (("ann", "en"), ("bob", "de"))
)
BASE = tiny.make_classifier("base", 1)
PRO = tiny.make_classifier("pro", 2, tiny.PRO_INTENTS)
NEXT = tiny.make_classifier("base", 3, tiny.PRO_INTENTS)


class Models:
    """Both a registry and the versions that serve."""

    candidate: int | None = 3
    tiers = ("base", "pro")

    def versions(self) -> dict[str, int]:
        return {"base": BASE.version, "pro": PRO.version}

    def version(self, tier: str, version: int) -> Classifier:
        serving = self.classifier(tier)
        return serving if serving.version == version else self.load_classifier(tier, version)

    def classifier(self, tier: str) -> Classifier:
        return {"base": BASE, "pro": PRO}[tier]

    def aliases(self, tier: str) -> Aliases:
        return Aliases(candidate=self.candidate if tier == "base" else None)

    def load_classifier(self, tier: str, version: int) -> Classifier:
        if (tier, version) != ("base", 3):
            raise errors.RegistryError(tier)
        return NEXT


class Deployed:
    """The parts of a worker that have to do with shadow work."""

    def __init__(
        self,
        url: str,
        models: Models | None = None,
        *,
        samples: int = SAMPLES,
        max_age_s: float = MAX_AGE_S,
        **settings: Any,
    ) -> None:
        self.settings = Settings.model_validate({"redis_url": url, **settings})
        self.models = models or Models()
        connection = Store.connect(self.settings)
        self.store = Comparisons(connection, self.settings, samples=samples)
        self._work = Runner(
            Backlog(connection),
            Candidates(self.models, self.models),
            self.store,
            redaction.load(self.settings.shadow_redactor),
            self.settings,
            max_age_s=max_age_s,
        )

    def serve(
        self, redis: Redis, message_id: str, texts: Sequence[str] = TEXTS, users: Sequence[jobs.User] = (ANN,)
    ) -> None:
        user_of = [place % len(users) for place in range(len(texts))]
        request = jobs.ClassifyRequest(texts=list(texts), users=list(users), user_of=user_of)
        body = json.dumps([[request.model_dump()], {}, None]).encode()
        envelope = json.dumps({"body": base64.b64encode(body).decode()})
        redis.hset(keys.open(message_id), mapping={"message": envelope, "queue": "bulk"})
        reply = classify.classify(request, message_id, router=plan_router(), models=self.models)
        wish = backlog.wish(
            keys, message_id, texts=len(texts), places=None, shed=None, limit_bytes=backlog.MIB
        )
        open_ledger(self.settings).finish(message_id, reply, extra=wish)

    def shadow(self) -> int:
        return self._work.work(yields=True)

    def found(self, pair: str) -> Comparison:
        return Comparison.from_fields(self.store.fields(pair))


def test_both_kinds_of_rivals_are_compared_each_as_a_pair_of_its_own(redis: Redis, redis_url: str) -> None:
    deployed = Deployed(redis_url)
    deployed.serve(redis, "m")
    assert deployed.shadow() == len(TEXTS)
    expected = sum(
        one == other
        for one, other in zip(BASE.classify(TEXTS).intent, PRO.classify(TEXTS).intent, strict=True)
    )
    for pair in (TIER_PAIR, CANDIDATE_PAIR):
        assert (deployed.found(pair).texts, deployed.found(pair).agreed) == (len(TEXTS), expected)
    assert set(deployed.store.pairs()) == {TIER_PAIR, CANDIDATE_PAIR}
    assert deployed.shadow() == 0


def test_texts_are_counted_by_the_attributes_of_the_settings(redis: Redis, redis_url: str) -> None:
    deployed = Deployed(redis_url, shadow_attributes="plan, language, mood")
    deployed.serve(redis, "m", ["hi"] * 5, [ANN, BOB])
    deployed.shadow()
    found = deployed.found(TIER_PAIR)
    assert found.attributes() == ["language", "plan"]
    assert found.tallies("attribute", "language") == {
        "en": Tally(texts=3, agreed=3),
        "de": Tally(texts=2, agreed=2),
    }


def test_a_message_longer_than_a_part_is_counted_once(redis: Redis, redis_url: str) -> None:
    deployed = Deployed(redis_url)
    deployed.serve(redis, "m", (TEXTS * 60)[:1_500])
    while deployed.shadow():
        pass
    assert deployed.found(TIER_PAIR).texts == 1_500
    assert not redis.exists(keys.shadow_waiting)


@pytest.mark.parametrize(
    ("redactor", "kept"),
    [
        ("pointsman_workers.shadow.redaction:mask", "can i pay ###"),
        ("off", None),
        ("builtins:repr", "'can i pay 100'"),
        # It fails on each text: what could not be masked is not kept.
        ("operator:neg", None),
    ],
)
def test_sampled_texts_are_kept_as_the_redactor_of_the_settings_says(
    redis: Redis, redis_url: str, redactor: str, kept: str | None
) -> None:
    deployed = Deployed(redis_url, shadow_redactor=redactor)
    deployed.serve(redis, "m", ["can i pay 100"])
    deployed.shadow()
    assert [row["text"] for row in deployed.store.rows(TIER_PAIR).values()] == [kept]


def test_without_samples_texts_are_counted_and_none_is_kept(redis: Redis, redis_url: str) -> None:
    deployed = Deployed(redis_url, samples=0)
    deployed.serve(redis, "m")
    deployed.shadow()
    assert deployed.found(TIER_PAIR).texts == len(TEXTS)
    assert deployed.store.rows(TIER_PAIR) == {}


def test_everything_of_a_comparison_goes_when_its_time_is_over(redis: Redis, redis_url: str) -> None:
    deployed = Deployed(redis_url, shadow_retention_s=60)
    deployed.serve(redis, "m")
    deployed.shadow()
    ages = [redis.ttl(key) for key in redis.scan_iter("pointsman:shadow:*")]
    assert len(ages) == 9
    assert all(0 < age <= 60 for age in ages)


def test_what_waited_too_long_is_shed_with_what_users_were_answered(redis: Redis, redis_url: str) -> None:
    deployed = Deployed(redis_url, max_age_s=1)
    deployed.serve(redis, "m")
    redis.hset(keys.shadow_kept("m"), "served_at", time.time() - 2)
    deployed.shadow()
    found = deployed.found(TIER_PAIR)
    assert (found.texts, found.missed("shed")) == (0, {"queue_age": len(TEXTS)})
    assert sum(found.missed_by("intent").values()) == len(TEXTS)


def test_a_candidate_that_cannot_be_loaded_spoils_no_other_comparison(redis: Redis, redis_url: str) -> None:
    models = Models()
    models.candidate = 4
    deployed = Deployed(redis_url, models)
    for message in ("a", "b"):
        deployed.serve(redis, message)
        deployed.shadow()
    assert deployed.found(TIER_PAIR).texts == 2 * len(TEXTS)
    missed = deployed.found("base@1 vs base@4")
    assert (missed.missed("failed"), missed.missed("shed")) == (
        {"not_loaded": len(TEXTS)},
        {"paused_not_loaded": len(TEXTS)},
    )


def test_an_outcome_that_is_gone_is_counted_as_dropped(redis: Redis, redis_url: str) -> None:
    deployed = Deployed(redis_url)
    deployed.serve(redis, "m")
    redis.delete(keys.result("m"))
    deployed.shadow()
    assert redis.hget(keys.stats, names.SHADOW_DROPPED) == b"1"
    assert not redis.exists(keys.shadow_waiting, keys.shadow_kept("m"))


def test_a_message_that_cannot_be_read_is_not_counted_as_dropped(redis: Redis, redis_url: str) -> None:
    deployed = Deployed(redis_url)
    deployed.serve(redis, "m")
    redis.hset(keys.shadow_kept("m"), "message", "{")
    deployed.shadow()
    assert redis.hgetall(keys.stats) == {names.SHADOW_UNREADABLE.encode(): b"1"}


def test_after_three_lost_processes_a_message_is_given_up(redis: Redis, redis_url: str) -> None:
    deployed = Deployed(redis_url)
    deployed.serve(redis, "m")
    redis.hset(keys.shadow_kept("m"), "tries", 3)
    deployed.shadow()
    assert deployed.found(TIER_PAIR).missed("failed") == {"process_lost": len(TEXTS)}
