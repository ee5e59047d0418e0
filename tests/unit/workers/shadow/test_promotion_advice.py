"""What the shadow advises on a promotion, by its report."""

from typing import Any, Literal

import pytest

from pointsman_models.data import tiers
from pointsman_models.promotion.advice import Advice
from pointsman_shared import errors
from pointsman_shared.wire import shadow_report
from pointsman_workers.shadow.promotion_advice import ShadowAdvisor
from tests.support import reports


class Queries:
    """Answers every question with one report, or fails."""

    def __init__(self, answer: shadow_report.ShadowReport | Exception) -> None:
        self._answer = answer

    def answer(self, _: object) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer.model_dump(mode="json")


def advice(
    answer: shadow_report.ShadowReport | Exception, wanted: Literal["better", "no worse"] = "no worse"
) -> Advice:
    options = tiers.GateOptions(require_shadow=wanted)
    return ShadowAdvisor(Queries(answer)).advise("pro", 8, champion=7, options=options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (errors.InvalidDataError("nothing"), "the shadow has not compared pro@8 vs pro@7 yet"),
        (
            errors.BrokerUnavailableError("Redis is away"),
            "the comparison of pro@8 vs pro@7 cannot be read now (Redis is away)",
        ),
        (
            reports.unlabelled(),
            "the shadow keeps looking at pro@8 vs pro@7: none of its disagreements is labelled yet",
        ),
    ],
    ids=["nothing compared", "Redis is away", "nothing labelled"],
)
def test_without_labels_the_advice_is_to_wait(
    answer: shadow_report.ShadowReport | Exception, reason: str
) -> None:
    found = advice(answer)
    assert (found.approves, found.watching, found.reason) == (False, False, reason)


def test_a_better_candidate_is_approved_with_the_evidence() -> None:
    found = advice(reports.labelled(wins=0.7, losses=0.2), "better")
    assert found.approves
    assert found.reason.startswith("the shadow finds pro@8 vs pro@7 better (300 labels: ")
    assert (found.evidence["decision"], found.evidence["asked"], found.evidence["texts"]) == (
        "better",
        "better",
        4_000,
    )


def test_a_worse_candidate_is_not_approved() -> None:
    found = advice(reports.labelled(wins=0.2, losses=0.7))
    assert (found.approves, found.watching) == (False, False)
    assert "the shadow finds pro@8 vs pro@7 worse (300 labels" in found.reason


def test_an_undecided_comparison_says_how_many_labels_are_missing() -> None:
    found = advice(reports.labelled(40, wins=0.5, losses=0.45), "better")
    assert (found.approves, found.watching) == (False, True)
    assert "better is asked: " in found.reason
    assert "more labels at this rate" in found.reason or "no end in sight" in found.reason
