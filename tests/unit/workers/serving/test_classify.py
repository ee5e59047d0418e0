"""One message, from request to reply."""

import pytest

from pointsman_models.inference.classifier import Classifier
from pointsman_shared import errors
from pointsman_shared.wire import jobs
from pointsman_workers.serving import classify
from tests.support import tiny
from tests.support.flags import plan_router

FREE = jobs.User(id="free", custom={"plan": "free"})
PRO = jobs.User(id="pro", custom={"plan": "pro"})
PAYMENT = "can i pay by card"


class TwoTiers:
    def __init__(self) -> None:
        self.base = tiny.make_classifier()
        self.pro = tiny.make_classifier("pro", 7, tiny.PRO_INTENTS)

    def classifier(self, tier: str) -> Classifier:
        return {"base": self.base, "pro": self.pro}[tier]


class NoPro(TwoTiers):
    def classifier(self, tier: str) -> Classifier:
        if tier == "pro":
            raise errors.TierUnavailableError(tier)
        return self.base


def answer(request: jobs.ClassifyRequest) -> jobs.ClassifyReply:
    reply = classify.classify(request, "m-1", router=plan_router(), models=TwoTiers())
    return jobs.ClassifyReply.model_validate(reply)


def test_a_message_for_both_tiers_keeps_the_order_of_its_texts() -> None:
    texts = [PAYMENT, "bye", PAYMENT, "hello there"]
    reply = answer(jobs.ClassifyRequest(texts=texts, users=[FREE, PRO], user_of=[0, 1, 1, 0]))
    outcomes = [jobs.outcome(reply, place, text) for place, text in enumerate(texts)]
    assert [(outcome.tier, outcome.intent) for outcome in outcomes] == [
        ("base", "out_of_scope"),
        ("pro", "goodbye"),
        ("pro", "payment_methods"),
        ("base", "greeting"),
    ]
    assert [outcome.model_version for outcome in outcomes] == [1, 7, 7, 1]
    assert [outcome.flag.reason for outcome in outcomes] == [
        "default",
        "targeting_rule",
        "targeting_rule",
        "default",
    ]
    assert [outcome.job_id for outcome in outcomes] == ["m-1:0", "m-1:1", "m-1:2", "m-1:3"]
    assert [outcome.ranking[0].confidence for outcome in outcomes] == [
        outcome.confidence for outcome in outcomes
    ]


def test_each_text_gets_the_answer_it_gets_in_a_message_of_its_own() -> None:
    texts = [text for utterances in tiny.UTTERANCES.values() for text in utterances]
    together = answer(
        jobs.ClassifyRequest(texts=texts, users=[FREE, PRO], user_of=[n % 2 for n in range(len(texts))])
    )
    for place, text in enumerate(texts):
        alone = answer(jobs.ClassifyRequest(texts=[text], users=[[FREE, PRO][place % 2]]))
        assert together.intent[place] == alone.intent[0]
        assert together.ranking_confidence[place] == pytest.approx(alone.ranking_confidence[0], abs=1e-4)


def test_the_texts_come_back_only_when_asked_for() -> None:
    assert answer(jobs.ClassifyRequest(texts=["hi"])).texts is None
    assert answer(jobs.ClassifyRequest(texts=["hi"], include_texts=True)).texts == ["hi"]


def test_a_clock_that_is_ahead_gives_no_negative_wait() -> None:
    assert answer(jobs.ClassifyRequest(texts=["hi"], submitted_at=9e12)).wait_ms == 0
    assert answer(jobs.ClassifyRequest(texts=["hi"])).wait_ms is None


def test_a_message_for_a_tier_that_is_not_there_fails_as_a_whole() -> None:
    request = jobs.ClassifyRequest(texts=["hi", "hi"], users=[FREE, PRO], user_of=[0, 1])
    with pytest.raises(errors.TierUnavailableError):
        classify.classify(request, "m-1", router=plan_router(), models=NoPro())


def test_the_counters_add_up_to_the_texts() -> None:
    request = jobs.ClassifyRequest(texts=["bye", "bye", PAYMENT], users=[FREE, PRO], user_of=[0, 1, 1])
    reply = classify.classify(request, "m-1", router=plan_router(), models=TwoTiers())
    assert classify.counters(reply) == {
        "done": 3,
        "base:goodbye": 1,
        "pro:goodbye": 1,
        "pro:payment_methods": 1,
    }
