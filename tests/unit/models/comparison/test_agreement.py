from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import chi2
from sklearn.metrics import cohen_kappa_score

from pointsman_models.comparison import agreement
from pointsman_models.comparison import counts as comparison
from pointsman_shared.wire.shadow_report import Flow

TABLES = st.integers(2, 6).flatmap(
    lambda size: arrays.arrays(np.int64, (size, size), elements=st.integers(0, 60))
)
FULL_TABLES = st.integers(2, 6).flatmap(
    lambda size: arrays.arrays(np.int64, (size, size), elements=st.integers(1, 60))
)


@pytest.fixture(scope="module")
def square_table() -> Any:
    return pytest.importorskip(
        "statsmodels.stats.contingency_tables", reason="statsmodels, of the dev group, is the oracle"
    ).SquareTable


@pytest.fixture(scope="module")
def cohens_kappa() -> Any:
    return pytest.importorskip(
        "statsmodels.stats.inter_rater", reason="statsmodels, of the dev group, is the oracle"
    ).cohens_kappa


@given(TABLES)
def test_kappa_is_scikit_learns(counts: agreement.Table) -> None:
    found = agreement.kappa(counts)
    served, candidate = np.indices(counts.shape)
    assume(found is not None)
    assert found is not None
    expected = cohen_kappa_score(served.ravel(), candidate.ravel(), sample_weight=counts.ravel())
    assert found.value == pytest.approx(expected, abs=1e-9)


@given(FULL_TABLES)
def test_the_interval_of_kappa_is_statsmodels(cohens_kappa: Any, counts: agreement.Table) -> None:
    found = agreement.kappa(counts)
    expected = cohens_kappa(counts)
    assert found is not None
    assert found.low == pytest.approx(max(-1, expected.kappa_low), abs=1e-9)
    assert found.high == pytest.approx(min(1, expected.kappa_upp), abs=1e-9)


@given(FULL_TABLES)
def test_both_tests_of_the_margins_are_statsmodels(square_table: Any, counts: agreement.Table) -> None:
    table = square_table(counts, shift_zeros=False)
    for found, expected in [
        (agreement.stuart_maxwell(counts), table.homogeneity()),
        (agreement.bowker(counts), table.symmetry()),
    ]:
        assert found is not None
        assert found.statistic == pytest.approx(expected.statistic, abs=1e-9)
        assert found.degrees == expected.df
        assert found.p_value == pytest.approx(expected.pvalue, abs=1e-9)


def test_equal_numbers_of_moves_between_all_intents_but_two_are_weighed_exactly() -> None:
    # A network of six nodes with a conductance of 112 between each two, but 95 between two of them: 289 / (336 - 17).
    counts = np.full((6, 6), 56)
    counts[4, 1] = 39
    found = agreement.stuart_maxwell(counts)
    assert found is not None
    assert found.statistic == pytest.approx(289 / 319, rel=1e-12)


@given(FULL_TABLES)
def test_intents_that_lost_and_won_nothing_change_neither_test(counts: agreement.Table) -> None:
    size = len(counts)
    larger = np.zeros((size + 2, size + 2), dtype=np.int64)
    larger[1 : size + 1, 1 : size + 1] = counts
    larger[0, 0] = 1_000
    for test in (agreement.stuart_maxwell, agreement.bowker):
        one, other = test(counts), test(larger)
        assert one is not None
        assert other is not None
        assert other.statistic == pytest.approx(one.statistic)
        assert (other.degrees, other.sparse) == (one.degrees, one.sparse)


@given(FULL_TABLES, FULL_TABLES)
def test_groups_of_intents_that_exchange_nothing_add_up(one: agreement.Table, other: agreement.Table) -> None:
    size = len(one)
    both = np.zeros((size + len(other),) * 2, dtype=np.int64)
    both[:size, :size], both[size:, size:] = one, other
    for test in (agreement.stuart_maxwell, agreement.bowker):
        parts, whole = [test(one), test(other)], test(both)
        assert whole is not None
        assert whole.statistic == pytest.approx(sum(part.statistic for part in parts if part))
        assert whole.degrees == sum(part.degrees for part in parts if part)


@given(st.integers(0, 500), st.integers(0, 500))
def test_of_two_intents_both_tests_are_mcnemars(there: int, back: int) -> None:
    assume(there + back)
    counts = np.array([[70, there], [back, 30]])
    statistic = (there - back) ** 2 / (there + back)
    for found in (agreement.stuart_maxwell(counts), agreement.bowker(counts)):
        assert found is not None
        assert found.statistic == pytest.approx(statistic)
        assert found.degrees == 1
        assert found.p_value == pytest.approx(chi2.sf(statistic, 1))
        assert found.sparse == (there + back < 10)


def test_without_differences_there_is_nothing_to_test() -> None:
    same = np.diag([5, 7])
    assert agreement.stuart_maxwell(same) is None
    assert agreement.bowker(same) is None
    nothing = np.zeros((0, 0), dtype=np.int64)
    assert agreement.kappa(nothing) is None
    assert agreement.stuart_maxwell(nothing) is None
    assert agreement.bowker(nothing) is None
    assert agreement.kappa(np.array([[9]])) is None
    assert agreement.rate(0, 0) is None


def test_the_interval_of_kappa_holds_the_truth_in_nineteen_runs_of_twenty() -> None:
    shares = np.array([[0.4, 0.05, 0.02], [0.03, 0.25, 0.05], [0.02, 0.03, 0.15]])
    truth = agreement.kappa(np.rint(shares * 1_000_000).astype(np.int64))
    assert truth is not None
    drawn = np.random.default_rng(3).multinomial(400, shares.ravel(), size=1_000).reshape(-1, 3, 3)
    found = [agreement.kappa(counts) for counts in drawn]
    held = np.mean([one is not None and one.low <= truth.value <= one.high for one in found])
    assert 0.93 < held < 0.97


def test_equal_margins_are_doubted_in_one_run_of_twenty() -> None:
    symmetric = np.array([[0.5, 0.05, 0.05], [0.05, 0.1, 0.05], [0.05, 0.05, 0.1]])
    drawn = np.random.default_rng(4).multinomial(600, symmetric.ravel(), size=600).reshape(-1, 3, 3)
    for test in (agreement.stuart_maxwell, agreement.bowker):
        doubted = np.mean([found is not None and found.p_value < 0.05 for found in map(test, drawn)])
        assert 0.025 < doubted < 0.075


FLOWS = {("a", "a"): 6, ("a", "b"): 3, ("a", "c"): 1, ("b", "b"): 5, ("b", "a"): 3, ("x", "c"): 1}


def test_flows_are_listed_by_how_many_texts_were_moved() -> None:
    assert agreement.flows(FLOWS) == [
        Flow(served="a", candidate="b", texts=3, share_of_served=0.3),
        Flow(served="b", candidate="a", texts=3, share_of_served=0.375),
        Flow(served="a", candidate="c", texts=1, share_of_served=0.1),
        Flow(served="x", candidate="c", texts=1, share_of_served=1.0),
    ]


def test_an_intent_is_counted_on_both_sides() -> None:
    found = {one.intent: (one.served, one.candidate, one.agreement) for one in agreement.by_intent(FLOWS)}
    assert list(found) == ["a", "b", "x", "c"]
    assert found["a"] == (10, 9, agreement.rate(6, 10))
    assert found["c"] == (0, 2, None)
    assert sum(served for served, _, _ in found.values()) == sum(FLOWS.values())


def test_an_intent_that_only_one_side_gives_is_counted_there() -> None:
    found = agreement.by_intent({("pay", "refund"): 3})
    assert [(one.intent, one.served, one.candidate) for one in found] == [("pay", 3, 0), ("refund", 0, 3)]
    assert [one.agreement and one.agreement.agreed for one in found] == [0, None]


def test_a_table_has_the_served_intents_down() -> None:
    intents, counts = agreement.table(FLOWS)
    assert intents == ["a", "b", "c", "x"]
    assert counts.tolist() == [[6, 3, 1, 0], [3, 5, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]


def test_the_shift_has_the_interval_of_a_mean() -> None:
    found = agreement.confidence_shift(comparison.Shift(texts=400, mean=0.1, variance=0.04))
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.0804, 0.1196), abs=1e-4)
    assert agreement.confidence_shift(None) is None


def test_the_latency_ratio_is_of_the_means() -> None:
    texts = comparison.Answered(intent=["a"] * 4, inference_ms=2.0)
    slower = comparison.Answered(intent=["a"] * 4, inference_ms=5.0)
    found = comparison.observe(texts, slower, day="2026-11-21")
    assert agreement.latency_ratio(found.side("served"), found.side("candidate")) == pytest.approx(2.5)
    untimed = comparison.Comparison().side("served")
    assert agreement.latency_ratio(untimed, found.side("candidate")) is None
    assert agreement.latency_ratio(found.side("served"), untimed) is None
