import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaln
from scipy.stats import binomtest

from pointsman_models.comparison import intervals


@given(st.integers(1, 5_000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_score_interval_is_scipys(counts: tuple[int, int]) -> None:
    found = intervals.wilson(*counts)
    expected = binomtest(*counts).proportion_ci(method="wilson")
    assert found.value == counts[0] / counts[1]
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(st.integers(0, 2_000), st.integers(0, 2_000), st.sampled_from([0.05, 0.0025]))
def test_the_ends_of_the_always_valid_interval_are_where_the_evidence_is_enough(
    successes: int, failures: int, alpha: float
) -> None:
    found = intervals.always_valid(successes, failures, alpha=alpha)
    assert 0 <= found.low <= found.value <= found.high <= 1
    for end in (found.low, found.high):
        if 0 < end < 1:
            likelihood = successes * np.log(end) + failures * np.log1p(-end)
            evidence = betaln(1 + successes, 1 + failures) - likelihood
            assert evidence == pytest.approx(np.log(1 / alpha), abs=1e-6)
    assert (found.low == 0) == (successes == 0)
    assert (found.high == 1) == (failures == 0)


def test_a_rare_share_among_many_texts_is_bounded_closely() -> None:
    found = intervals.always_valid(20, 999_980, alpha=0.0025)
    assert 2e-6 < found.low < 2e-5 < found.high < 8e-5


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_the_always_valid_interval_leaves_the_truth_in_few_runs_though_looked_at_all_the_time(
    share: float,
) -> None:
    runs, looks, alpha = 2_000, 1_000, 0.05
    generator = np.random.default_rng(11)
    successes = (generator.random((runs, looks)) < share).cumsum(axis=1)
    totals = np.arange(1, looks + 1)
    bounds = [intervals.always_valid(int(x), 40 - int(x), alpha=alpha) for x in range(41)]
    # The interval excludes the truth exactly where the evidence against it is enough: vectorised, and spot-checked.
    evidence = betaln(1 + successes, 1 + totals - successes) - (
        successes * np.log(share) + (totals - successes) * np.log1p(-share)
    )
    excluded = evidence >= np.log(1 / alpha)
    outside = [not bounds[x].low <= share <= bounds[x].high for x in successes[:, 39]]
    assert excluded[:, 39].tolist() == outside
    assert excluded.any(axis=1).mean() <= alpha
