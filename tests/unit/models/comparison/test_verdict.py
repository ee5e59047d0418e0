"""The verdict keeps its error rates though one looks after every label, and reaches decisions all the same.

The simulations weigh each (wins, labels) that occurs once; `judge` itself is held against them on some of the runs.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import beta, betainc
from scipy.stats import binom, binomtest

from pointsman_models.comparison import counts as comparison
from pointsman_models.comparison import evidence, intervals, verdict
from pointsman_models.comparison import labels as labelling
from pointsman_shared.wire import shadow_report
from tests.support.reports import labelled_file

RUNS, LABELS, ALPHA = 1_000, 800, 0.05
TEXTS = 20_000
Scores = NDArray[np.int64]
Floats = NDArray[np.float64]


def labelled(scores: Scores | list[int]) -> list[labelling.LabelledPair]:
    answers = {1: ("b", "a"), 0: ("b", "c"), -1: ("a", "b")}
    return [
        labelling.LabelledPair(
            served=answers[int(score)][0], candidate=answers[int(score)][1], label="a", probability=0.5
        )
        for score in scores
    ]


def judge(
    scores: Scores | list[int], *, disagreed: int = 2_000, margin: float = 0.01
) -> shadow_report.Verdict:
    return verdict.judge(labelled(scores), texts=TEXTS, agreed=TEXTS - disagreed, alpha=ALPHA, margin=margin)


def draw(win_share: float, *, seed: int) -> Scores:
    wins = np.random.default_rng(seed).random((RUNS, LABELS)) < win_share
    return np.where(wins, 1, -1)


def of_each(weigh: Callable[[Scores, Scores], Floats], scores: Scores) -> Floats:
    """Weigh the wins and losses after every label, each pair of them once."""
    wins = (scores == 1).cumsum(axis=1)
    losses = (scores == -1).cumsum(axis=1)
    both, places = np.unique(wins * (LABELS + 1) + losses, return_inverse=True)
    found: Floats = weigh(both // (LABELS + 1), both % (LABELS + 1))[places]
    return found.reshape(scores.shape)


def for_better(wins: Scores, losses: Scores) -> Floats:
    return evidence.log_evidence(wins, 0 * wins, losses)


def for_worse(wins: Scores, losses: Scores) -> Floats:
    return evidence.log_evidence(losses, 0 * wins, wins)


def sign_test(wins: Scores, losses: Scores) -> Floats:
    p_value: Floats = np.minimum(1, 2 * binom.cdf(np.minimum(wins, losses), wins + losses, 0.5))
    return p_value


def ever(reached: NDArray[np.bool_]) -> float:
    return float(reached.any(axis=1).mean())


def test_under_no_difference_the_verdict_is_wrong_in_at_most_alpha_of_the_runs() -> None:
    scores = draw(0.5, seed=1)
    enough = -math.log(ALPHA / 2)
    better, worse = of_each(for_better, scores) >= enough, of_each(for_worse, scores) >= enough

    assert ever(better) <= ALPHA / 2
    assert ever(worse) <= ALPHA / 2
    assert ever(better | worse) <= ALPHA

    wrong = np.flatnonzero((better | worse).any(axis=1))
    assert len(wrong) > 10, "an error rate of nothing would mean that it never decides at all"
    for run in [*wrong[:5], 0, 1, 2]:
        found = judge(scores[run])
        for statement, made in [(found.better, better[run]), (found.worse, worse[run])]:
            assert statement.made_after == (made.argmax() + 1 if made.any() else None)


def test_under_no_difference_a_repeated_sign_test_is_wrong_in_more_than_a_quarter_of_the_runs() -> None:
    assert ever(of_each(sign_test, draw(0.5, seed=1)) <= ALPHA) > 0.25


@pytest.mark.parametrize("win_share", [0.3, 0.45, 0.49])
def test_a_worse_candidate_is_called_better_even_more_rarely(win_share: float) -> None:
    assert ever(of_each(for_better, draw(win_share, seed=2)) >= -math.log(ALPHA / 2)) <= ALPHA / 2


@pytest.mark.parametrize(("win_share", "labels"), [(0.6, 600), (0.7, 150), (0.85, 50)])
def test_a_better_candidate_is_found_out(win_share: float, labels: int) -> None:
    reached = of_each(for_better, draw(win_share, seed=3)[:, :labels]) >= -math.log(ALPHA / 2)
    assert ever(reached) > 0.95


@pytest.mark.parametrize("tie_share", [0.0, 0.4])
def test_a_candidate_worse_by_the_margin_is_called_no_worse_in_at_most_half_of_alpha(
    tie_share: float,
) -> None:
    runs, labels, rate, margin = 1_000, 300, 0.1, 0.03
    generator = np.random.default_rng(4)
    disagreed = generator.binomial(TEXTS, rate, runs)
    mean = -margin / rate
    shares = [(1 - tie_share - mean) / 2, tie_share, (1 - tie_share + mean) / 2]
    scores = generator.choice([-1, 0, 1], p=shares, size=(runs, labels))
    running = [(scores == score).cumsum(axis=1) for score in (1, 0, -1)]
    enough = -math.log((1 - verdict.BOUND_PART) * ALPHA / 2)

    said = np.zeros(runs, dtype=bool)
    for count in np.unique(disagreed):
        chosen = disagreed == count
        bound = intervals.always_valid(count, TEXTS - count, alpha=verdict.BOUND_PART * ALPHA / 2).high
        course = evidence.log_evidence(*(counts[chosen] for counts in running), allowance=margin / bound)
        said[chosen] = (course >= enough).any(axis=1)
    assert said.mean() <= ALPHA / 2
    for run in range(5):
        found = judge(scores[run], disagreed=int(disagreed[run]), margin=margin)
        assert (found.no_worse.made_after is not None) == said[run]


def test_an_equal_candidate_is_called_no_worse_in_the_end() -> None:
    generator = np.random.default_rng(6)
    decisions = [judge(generator.choice([-1, 0, 1], size=400), margin=0.03).decision for _ in range(40)]
    assert decisions.count("no worse") >= 36


def test_a_difference_below_the_margin_needs_no_label_where_the_models_hardly_disagree() -> None:
    found = judge([], disagreed=20)
    assert found.disagreement_bound < 0.01
    assert (found.decision, found.no_worse.made_after) == ("no worse", 0)
    assert judge([], disagreed=2_000).decision == "keep looking"


def test_the_bound_and_the_labels_share_the_error_rate_of_no_worse() -> None:
    found = judge([1, -1, 0], disagreed=2_000)
    of_labels = math.exp(-found.no_worse.threshold_log_e)
    of_bound = ALPHA / 2 - of_labels
    assert 0 < of_bound < of_labels
    expected = intervals.always_valid(2_000, TEXTS - 2_000, alpha=of_bound)
    assert found.disagreement_bound == pytest.approx(expected.high)
    assert found.no_worse.error_rate == found.better.error_rate == ALPHA / 2


def test_nothing_is_known_of_no_texts() -> None:
    found = verdict.judge([], texts=0, agreed=0)
    assert (found.decision, found.further, found.mcnemar_p) == ("keep looking", None, 1.0)
    assert (found.disagreement_bound, found.trajectory[0].labels) == (1.0, 0)


@pytest.mark.parametrize(
    ("scores", "decision"),
    [
        ([1] * 20, "better"),
        ([-1] * 20, "worse"),
        ([1, -1, 0] * 10, "keep looking"),
        ([1, -1, 0] * 600, "no worse"),
    ],
)
def test_the_decision_follows_the_labels(scores: list[int], decision: str) -> None:
    assert judge(scores).decision == decision


def test_a_decision_once_made_stays() -> None:
    found = judge([1] * 20 + [-1] * 10)
    assert found.decision == "better"
    assert found.better.log_e < found.better.threshold_log_e <= found.better.highest_log_e
    in_closed_form = (2 ** (wins + 1) * betainc(5, 5 + wins, 0.5) * beta(5, 5 + wins) for wins in range(20))
    enough = [evidence_so_far >= beta(5, 5) / (ALPHA / 2) for evidence_so_far in in_closed_form]
    assert (found.better.made_after, found.better.further) == (enough.index(True), None)


def test_evidence_both_ways_decides_nothing() -> None:
    found = judge([1] * 20 + [-1] * 80)
    assert (found.decision, found.contradictory) == ("keep looking", True)


def test_worse_by_less_than_the_margin_is_still_worse() -> None:
    found = judge(([-1] * 6 + [1] * 4) * 200, disagreed=600)
    assert found.no_worse.made_after is not None
    assert (found.decision, found.contradictory) == ("worse", False)


def test_the_order_of_a_sorted_file_decides_nothing() -> None:
    labels = ["a"] * 40 + ["b"] * 40
    served, candidate = comparison.Answered(intent=["b"] * 80), comparison.Answered(intent=["a"] * 80)
    pairs = labelled_file(served, candidate, labels)
    assert sorted(pair.label for pair in pairs) == labels
    assert verdict.judge(pairs, texts=80, agreed=0).decision == "keep looking"
    in_order = sorted(pairs, key=lambda pair: pair.label)
    assert verdict.judge(in_order, texts=80, agreed=0).decision != "keep looking"


def test_labels_that_were_not_drawn_or_agree_do_not_count() -> None:
    chosen = [
        labelling.LabelledPair(served="a", candidate="b", label="b", probability=None),
        labelling.LabelledPair(served="a", candidate="a", label="b", probability=1.0),
    ]
    found = verdict.judge(chosen * 50, texts=1_000, agreed=900)
    assert (found.wins, found.ties, found.losses) == (0, 0, 0)


@pytest.mark.parametrize("shares", [(6, 1, 3), (3, 1, 6), (4, 2, 4)])
def test_about_as_many_more_labels_are_needed_as_is_said(shares: tuple[int, int, int]) -> None:
    # Spread evenly, so that no run of wins or losses comes to the limit before its time.
    spread = sorted(
        ((place + 0.5) / count, score)
        for score, count in zip((1, 0, -1), shares, strict=True)
        for place in range(count)
    )
    scores = [score for _, score in spread]
    first = judge(scores)
    assert first.decision == "keep looking"
    assert first.further is not None
    course = judge(scores * (2 + first.further // len(scores)))
    made = [one.made_after for one in (course.better, course.worse, course.no_worse) if one.made_after]
    assert min(made) - len(scores) == pytest.approx(first.further, rel=0.1, abs=5)


@given(st.integers(0, 60), st.integers(1, 60))
def test_mcnemars_exact_test_is_the_binomial_one(wins: int, losses: int) -> None:
    smaller = binom.cdf(min(wins, losses), wins + losses, 0.5)
    assert verdict.mcnemar(wins, losses) == pytest.approx(min(1, 2 * smaller))
    assert verdict.mcnemar(wins, losses) == pytest.approx(binomtest(losses, wins + losses).pvalue)


def test_mcnemars_exact_test_is_statsmodels() -> None:
    tables = pytest.importorskip(
        "statsmodels.stats.contingency_tables", reason="statsmodels, of the dev group, is the oracle"
    )
    for wins, losses in [(3, 9), (20, 10), (40, 41)]:
        expected = tables.mcnemar([[100, wins], [losses, 50]], exact=True).pvalue
        assert verdict.mcnemar(wins, losses) == pytest.approx(expected)


def test_the_trajectory_has_the_first_and_the_last_label_and_no_end_of_points() -> None:
    pairs = [
        labelling.LabelledPair(
            served="a", candidate="b", label="b", probability=1.0, labelled_at=float(place)
        )
        for place in range(1_000)
    ]
    found = verdict.judge(pairs, texts=10_000, agreed=8_000)
    first, last = found.trajectory[0], found.trajectory[-1]
    assert (first.labels, first.labelled_at) == (0, None)
    assert first.better == pytest.approx(0)
    assert (last.labels, last.labelled_at, last.better) == (1_000, 999.0, found.better.log_e)
    assert len(found.trajectory) <= verdict.TRAJECTORY_POINTS


@given(st.lists(st.sampled_from([1, 0, -1]), max_size=60), st.floats(0.001, 0.5))
def test_better_is_never_said_on_less_evidence_than_no_worse(scores: list[int], margin: float) -> None:
    for point in judge(scores, margin=margin).trajectory:
        assert point.no_worse >= point.better - 1e-9


@pytest.mark.parametrize("score", [1, -1])
def test_evidence_one_way_is_no_contradiction_and_needs_no_further_labels(score: int) -> None:
    found = judge([score] * 12 + [-score] * 14)
    assert (found.better if score == 1 else found.worse).made_after is not None
    assert found.decision in {"better", "worse"}
    assert (found.contradictory, found.further) == (False, None)
    # There is still a statement that more such labels would make, and a reader may not take it for the verdict's.
    undecided = judge([1, -1, 1] * 4)
    assert (undecided.contradictory, undecided.further is not None) == (False, True)


def test_a_contradiction_is_reported_whichever_statement_came_first() -> None:
    for scores in ([1] * 20 + [-1] * 80, [-1] * 20 + [1] * 80):
        assert judge(scores).contradictory
