import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from pointsman_models.comparison import accuracy, counts, verdict
from tests.support.reports import labelled_file

HINT3 = Path(__file__).parents[5] / "shared" / "data" / "hint3"
INTENTS = st.sampled_from(["greet", "bye", "a|b", 'say "hi"', "größe", "out_of_scope"])
SHARES = st.floats(0, 1)
DAYS = st.sampled_from(["2026-11-20", "2026-11-21"])
PLANS = st.sampled_from(["free", "pro", None])
ROW = st.tuples(INTENTS, INTENTS, SHARES, SHARES, PLANS)
ROWS = st.lists(ROW, max_size=12)


@st.composite
def comparisons(draw: st.DrawFn) -> counts.Comparison:
    if draw(st.booleans()):
        kind: counts.Missing = draw(st.sampled_from(["shed", "failed"]))
        reason = draw(st.sampled_from(["queue_age", "memory"]))
        return counts.miss(draw(st.lists(INTENTS, max_size=4)), kind=kind, reason=reason, day=draw(DAYS))
    return observed(draw(ROWS), day=draw(DAYS), served_ms=draw(st.floats(0, 5_000)))


def observed(
    rows: list[tuple[str, str, float, float, str | None]], *, day: str, served_ms: float | None = None
) -> counts.Comparison:
    return counts.observe(
        counts.Answered(
            intent=[row[0] for row in rows], confidence=[row[2] for row in rows], inference_ms=served_ms
        ),
        counts.Answered(
            intent=[row[1] for row in rows], confidence=[row[3] for row in rows], inference_ms=4.0
        ),
        day=day,
        attributes={"plan": [row[4] for row in rows]},
    )


@given(comparisons(), comparisons(), comparisons())
def test_comparisons_add_up_in_any_order_and_grouping(
    one: counts.Comparison, two: counts.Comparison, three: counts.Comparison
) -> None:
    assert one + two == two + one
    assert (one + two) + three == one + (two + three)
    assert one + counts.Comparison() == one


@given(ROWS, ROWS)
def test_two_messages_add_up_to_what_one_with_all_texts_counts(
    first: list[tuple[str, str, float, float, str | None]],
    second: list[tuple[str, str, float, float, str | None]],
) -> None:
    apart = observed(first, day="2026-11-21") + observed(second, day="2026-11-21")
    together = observed(first + second, day="2026-11-21")
    # Time is a message's and not a text's: everything else must be the same.
    timed = ("inference_us", "latency_bin")
    assert {name: count for name, count in apart.counts.items() if name[0] not in timed} == {
        name: count for name, count in together.counts.items() if name[0] not in timed
    }


@given(st.lists(comparisons(), max_size=4))
def test_a_store_that_increments_fields_gives_back_the_sum(parts: list[counts.Comparison]) -> None:
    store: Counter[str] = Counter()
    for part in parts:
        for name, count in part.fields().items():
            store[name] += count
    assert counts.Comparison.from_fields(store) == sum(parts, counts.Comparison())


def test_sums_that_come_to_nothing_leave_no_field_behind() -> None:
    one = observed([("a", "a", 0.5, 0.6, None)], day="2026-11-21")
    other = observed([("a", "a", 0.6, 0.5, None)], day="2026-11-21")
    assert ("shift", "sum") in one.counts
    assert ("shift", "sum") not in (one + other).counts
    assert counts.Comparison.from_fields((one + other).fields()) == one + other


def test_the_figures_are_those_worked_out_by_hand() -> None:
    found = observed(
        [("a", "a", 0.5, 0.7, "pro"), ("a", "b", 1.0, 0.9, "free"), ("b", "b", 0.0, 0.05, "pro")],
        day="2026-11-21",
        served_ms=1.5,
    ) + observed([("b", "a", 0.9, 0.3, None)], day="2026-11-22", served_ms=None)
    assert (found.texts, found.agreed) == (4, 2)
    assert found.flows() == {("a", "a"): 1, ("a", "b"): 1, ("b", "b"): 1, ("b", "a"): 1}
    assert found.tallies("day") == {
        "2026-11-21": counts.Tally(texts=3, agreed=2),
        "2026-11-22": counts.Tally(texts=1, agreed=0),
    }
    assert found.attributes() == ["plan"]
    assert found.tallies("attribute", "plan") == {
        "free": counts.Tally(texts=1, agreed=0),
        "pro": counts.Tally(texts=2, agreed=2),
    }
    served, candidate = found.side("served"), found.side("candidate")
    assert served.mean_confidence == pytest.approx(0.6)
    # 0, 0.5, 0.9 and 1.0 in twentieths; the last bin is closed.
    assert [place for place, count in enumerate(served.confidence_histogram) if count] == [0, 10, 18, 19]
    # The served model's time is known of three texts only.
    assert served.mean_latency_ms == pytest.approx(0.5)
    assert sum(served.latency_histogram) == 3
    assert candidate.mean_latency_ms == pytest.approx(2.0)
    place = candidate.latency_histogram.index(1)
    assert counts.LATENCY_EDGES_MS[place - 1] <= 4.0 < counts.LATENCY_EDGES_MS[place]


@given(st.lists(st.tuples(SHARES, SHARES), min_size=1, max_size=30))
def test_the_shift_is_that_of_the_confidences(shares: list[tuple[float, float]]) -> None:
    found = observed([("a", "b", *pair, None) for pair in shares], day="2026-11-21").shift()
    exact = np.diff(np.array(shares), axis=1)
    assert found is not None
    assert found.texts == len(shares)
    assert found.mean == pytest.approx(exact.mean(), abs=1.1e-4)
    assert found.variance == pytest.approx(exact.var(), abs=5e-4)


def test_what_was_not_recorded_is_not_known() -> None:
    answers = counts.Answered(intent=["a", "b"])
    found = counts.observe(answers, answers, day="2026-11-21")
    assert found.shift() is None
    assert found.side("served").mean_confidence is None
    assert found.side("candidate").mean_latency_ms is None
    assert (found.texts, found.agreed) == (2, 2)


def test_missed_texts_are_counted_by_reason_intent_and_day() -> None:
    found = (
        counts.miss(["a", "a", "b"], kind="shed", reason="queue_age", day="2026-11-21")
        + counts.miss(["a"], kind="shed", reason="memory", day="2026-11-21")
        + counts.miss(["b"], kind="failed", reason="raised", day="2026-11-22")
    )
    assert found.missed("shed") == {"queue_age": 3, "memory": 1}
    assert found.missed("failed") == {"raised": 1}
    assert found.missed_by("intent") == {"a": 3, "b": 2}
    assert found.missed_by("day") == {"2026-11-21": 4, "2026-11-22": 1}
    assert found.texts == 0


@pytest.mark.parametrize("column", ["candidate", "confidence", "attribute"])
def test_columns_of_different_lengths_are_refused(column: str) -> None:
    intents = ["a"] if column == "candidate" else ["a", "b"]
    confidence = [0.5] if column == "confidence" else [0.5, 0.6]
    plans = ["pro"] if column == "attribute" else ["pro", "free"]
    with pytest.raises(ValueError, match=r"entries for 2 texts|shorter"):
        counts.observe(
            counts.Answered(intent=["a", "b"], confidence=confidence),
            counts.Answered(intent=intents),
            day="2026-11-21",
            attributes={"plan": plans},
        )


def test_a_million_texts_of_150_intents_take_a_few_megabytes() -> None:
    names = [f"a_rather_long_intent_name_{place}" for place in range(150)]
    # The worst case: the two models have nothing to do with each other, and every pair of intents occurs.
    served, candidate = zip(*itertools.product(names, names), strict=True)
    once = counts.observe(counts.Answered(intent=served), counts.Answered(intent=candidate), day="2026-11-21")
    total = sum([once] * 45, counts.Comparison())
    assert total.texts > 1_000_000
    assert len(total.counts) == len(once.counts)
    assert sum(len(name.encode()) + len(str(count)) for name, count in total.fields().items()) < 3_000_000


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("trained_on", ["full", "subset"])
def test_published_predictions_give_the_counts_of_an_independent_computation(trained_on: str) -> None:
    if not HINT3.exists():
        pytest.skip("the HINT3 predictions are not beside the repository (../shared/data/hint3)")
    rows = read(HINT3 / "platform_predictions_v1.jsonl")
    answers = {
        platform: [row for row in rows if row["platform"] == platform and row["trained_on"] == trained_on]
        for platform in ("rasa", "bert")
    }
    for one, other in zip(answers["rasa"], answers["bert"], strict=True):
        assert (one["bot"], one["row"], one["label"]) == (other["bot"], other["row"], other["label"])
    served, candidate = (
        counts.Answered(
            intent=[row["predicted_node"] for row in answers[platform]],
            confidence=[float(row["predicted_node_score"]) for row in answers[platform]],
        )
        for platform in ("rasa", "bert")
    )
    labels = [row["label"] for row in answers["rasa"]]

    found = counts.observe(served, candidate, day="2020-11-19")
    pairs = labelled_file(served, candidate, labels)
    judged = verdict.judge(pairs, texts=found.texts, agreed=found.agreed)

    both = list(zip(*answers.values(), strict=True))
    same = [rasa["predicted_node"] == bert["predicted_node"] for rasa, bert in both]
    right = [tuple(row["predicted_node"] == row["label"] for row in rows_of_one) for rows_of_one in both]
    assert (found.texts, found.agreed) == (len(both), sum(same))
    assert judged.wins == right.count((False, True))
    assert judged.losses == right.count((True, False))
    assert judged.ties == right.count((False, False)) - sum(
        agreed and not any(rights) for agreed, rights in zip(same, right, strict=True)
    )
    assert judged.mcnemar_p == pytest.approx(
        min(1, 2 * binom.cdf(judged.losses, judged.wins + judged.losses, 0.5))
    )

    # The accuracies that were published with the predictions: no score is below the lowest threshold.
    published = {
        row["platform"]: row["Accuracy"]
        for row in read(HINT3 / "platform_results_v1.jsonl")
        if (row["trained_on"], row["Threshold"]) == (trained_on, 0.1)
    }
    estimated = accuracy.estimate(pairs, texts=found.texts, agreed=found.agreed)
    assert estimated.served is not None
    assert estimated.candidate is not None
    assert estimated.served.value == pytest.approx(published["rasa"])
    assert estimated.candidate.value == pytest.approx(published["bert"])
