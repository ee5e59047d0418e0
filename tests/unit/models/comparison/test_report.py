import pytest

from pointsman_models.comparison import counts, labels
from pointsman_models.comparison import report as comparison_report
from pointsman_shared import errors
from pointsman_shared.wire import shadow_report

INTENTS = ["a"] * 60 + ["b"] * 40
CANDIDATE = ["a"] * 54 + ["b"] * 6 + ["b"] * 36 + ["a"] * 4


def observed(*, day: str = "2026-11-21") -> counts.Comparison:
    return counts.observe(
        counts.Answered(intent=INTENTS, confidence=[0.8] * 100, inference_ms=5.0),
        counts.Answered(intent=CANDIDATE, confidence=[0.9] * 100, inference_ms=10.0),
        day=day,
        attributes={"plan": ["pro", "free"] * 50},
    )


def build(
    found: counts.Comparison, pairs: list[labels.LabelledPair] | None = None
) -> shadow_report.ShadowReport:
    return comparison_report.build(found, served="pro@7", candidate="base@4", pairs=pairs or [])


def disagreement(label: str, *, probability: float | None = 0.5) -> labels.LabelledPair:
    return labels.LabelledPair(served="a", candidate="b", label=label, probability=probability)


def test_the_report_says_what_was_counted() -> None:
    report = build(observed() + observed(day="2026-11-22"))
    assert report.pair == "pro@7 vs base@4"
    assert report.agreement is not None
    assert (report.agreement.agreed, report.agreement.texts, report.agreement.value) == (180, 200, 0.9)
    assert [(flow.served, flow.candidate, flow.texts) for flow in report.flows] == [
        ("a", "b", 12),
        ("b", "a", 8),
    ]
    assert [(one.intent, one.served, one.candidate) for one in report.intents] == [
        ("a", 120, 116),
        ("b", 80, 84),
    ]
    assert [(day.day, day.missed) for day in report.days] == [("2026-11-21", 0), ("2026-11-22", 0)]
    assert [(value.value, value.agreement.texts) for value in report.attributes] == [
        ("free", 100),
        ("pro", 100),
    ]
    assert report.confidence.shift is not None
    assert report.confidence.shift.value == pytest.approx(0.1)
    assert report.latency.ratio == pytest.approx(2.0)
    assert len(report.latency.edges_ms) + 1 == len(report.latency.served_histogram)
    assert (report.accuracy, report.verdict, report.warnings) == (None, None, [])


def test_the_report_survives_the_wire() -> None:
    pairs = [disagreement("a"), disagreement("b"), disagreement("c", probability=None)]
    missed = counts.miss(["a", "b"], kind="shed", reason="memory", day="2026-11-23")
    report = build(observed() + missed, pairs)
    assert shadow_report.ShadowReport.model_validate_json(report.model_dump_json()) == report
    assert shadow_report.ShadowReport.parse(report.model_dump(mode="json")) == report


def test_a_report_of_no_texts_is_a_report() -> None:
    report = build(counts.Comparison())
    assert (report.agreement, report.kappa, report.symmetry, report.flows) == (None, None, None, [])
    assert (report.missed.texts, report.missed.agreement_low) == (0, None)
    assert shadow_report.ShadowReport.model_validate_json(report.model_dump_json()) == report


def test_rare_flows_are_summed_up() -> None:
    served = [f"intent_{place}" for place in range(comparison_report.MAX_FLOWS + 5)]
    answers = counts.Answered(intent=served)
    other = counts.Answered(intent=["x"] * len(served))
    report = build(counts.observe(answers, other, day="2026-11-21"))
    assert (len(report.flows), report.flows_left_out) == (comparison_report.MAX_FLOWS, 5)


def test_what_was_missed_bounds_the_agreement() -> None:
    missed = counts.miss(["b"] * 20, kind="shed", reason="queue_age", day="2026-11-21") + counts.miss(
        ["b"] * 5, kind="failed", reason="raised", day="2026-11-22"
    )
    report = build(observed() + missed)
    assert (report.missed.shed, report.missed.failed) == ({"queue_age": 20}, {"raised": 5})
    assert (report.missed.texts, report.missed.share) == (25, 0.2)
    assert report.missed.agreement_low == pytest.approx(90 / 125)
    assert report.missed.agreement_high == pytest.approx(115 / 125)
    # Of all 125 sampled texts 60 are a's, of which 9 in 10 agree, and 65 are b's, of which as many do.
    assert report.missed.agreement_reweighted == pytest.approx(0.9)
    assert report.missed.intent_distance == pytest.approx(0.6)
    assert [(day.day, day.missed) for day in report.days] == [("2026-11-21", 20), ("2026-11-22", 5)]
    assert [day.agreement is None for day in report.days] == [False, True], "all of the second day was missed"
    assert any("20% of the sampled texts were not compared" in warning for warning in report.warnings)


def test_a_day_without_missed_texts_has_none() -> None:
    assert [(day.day, day.missed) for day in build(observed()).days] == [("2026-11-21", 0)]


def test_missed_texts_of_an_intent_that_agrees_less_lower_the_reweighted_agreement() -> None:
    found = counts.observe(
        counts.Answered(intent=["a"] * 50 + ["b"] * 50),
        counts.Answered(intent=["a"] * 50 + ["b"] * 25 + ["a"] * 25),
        day="2026-11-21",
    )
    shed = counts.miss(["b"] * 100, kind="shed", reason="queue_age", day="2026-11-21")
    report = build(found + shed)
    assert report.missed.agreement_reweighted == pytest.approx((50 + 150 * 0.5) / 200)
    assert build(found).missed.agreement_reweighted is None


def test_labels_bring_the_verdict_and_the_accuracies() -> None:
    agreed = [labels.LabelledPair(served="a", candidate="a", label="a", probability=0.1)] * 9
    report = build(observed(), [*agreed, *[disagreement("b")] * 10])
    assert report.verdict is not None
    assert report.accuracy is not None
    assert (report.verdict.wins, report.verdict.losses, report.verdict.decision) == (10, 0, "keep looking")
    assert report.verdict.further is not None
    assert report.accuracy.served is not None
    assert report.accuracy.candidate is not None
    assert report.accuracy.served.value == pytest.approx(0.9)
    assert report.accuracy.candidate.value == pytest.approx(1.0)
    assert report.warnings == []


def test_a_verdict_needs_no_label_where_the_models_hardly_ever_disagree() -> None:
    answers = counts.Answered(intent=["a"] * 5_000)
    report = build(counts.observe(answers, answers, day="2026-11-21"))
    assert report.verdict is not None
    assert report.verdict.decision == "no worse"


@pytest.mark.parametrize(
    ("pairs", "warning"),
    [
        ([disagreement("b", probability=None)], "Of the labels, 1 do not count"),
        ([disagreement("b")], "No agreement is labelled"),
        ([disagreement("b")] * 20 + [disagreement("a")] * 80, "no decision is made"),
    ],
)
def test_a_reader_is_warned(pairs: list[labels.LabelledPair], warning: str) -> None:
    assert any(warning in told for told in build(observed(), pairs).warnings)


def test_worse_within_the_margin_is_said_to_be_so() -> None:
    report = comparison_report.build(
        observed(),
        served="pro@7",
        candidate="base@4",
        pairs=([disagreement("a")] * 6 + [disagreement("b")] * 4) * 40,
        margin=0.15,
    )
    assert report.verdict is not None
    assert report.verdict.decision == "worse"
    assert any("less than the margin of 15.0%" in warning for warning in report.warnings)


def test_disagreements_to_show_are_passed_on() -> None:
    shown = shadow_report.Disagreement(job_id="m:0", text="call me at ***", served="a", candidate="b")
    report = comparison_report.build(observed(), served="pro@7", candidate="base@4", disagreements=[shown])
    assert report.disagreements == [shown]


def test_a_report_that_does_not_follow_the_schema_is_refused_without_quoting_it() -> None:
    with pytest.raises(errors.InvalidMessageError) as caught:
        shadow_report.ShadowReport.parse({"served": ["my secret"]})
    assert "candidate" in str(caught.value)
    assert "secret" not in str(caught.value)
