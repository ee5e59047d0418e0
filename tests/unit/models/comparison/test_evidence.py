import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaincc, betaln
from scipy.stats import binom, multinomial

from pointsman_models.comparison import evidence

COUNTS = st.integers(0, 300)
ALLOWANCES = st.floats(0, 0.99)
# Whole hundredths: SciPy's binomial overflows at probabilities next to nothing.
PERCENT = st.integers(0, 100).map(lambda share: share / 100)


@given(COUNTS, COUNTS)
def test_the_evidence_is_the_mixture_over_the_upper_half_of_the_beta(wins: int, losses: int) -> None:
    above_half = betaincc(5 + wins, 5 + losses, 0.5)
    closed = betaln(5 + wins, 5 + losses) - betaln(5, 5) + (wins + losses) * math.log(2)
    expected = closed + math.log(2 * above_half)
    assert float(evidence.log_evidence(wins, 0, losses)) == pytest.approx(expected, abs=1e-6)


@given(COUNTS, COUNTS, COUNTS)
def test_ties_count_only_where_there_is_an_allowance(wins: int, ties: int, losses: int) -> None:
    without, tied = (float(evidence.log_evidence(wins, count, losses)) for count in (0, ties))
    assert tied == pytest.approx(without, abs=1e-9)
    allowed = [float(evidence.log_evidence(wins, count, losses, allowance=0.1)) for count in (ties, ties + 1)]
    assert allowed[1] > allowed[0]


@given(COUNTS, COUNTS, COUNTS, ALLOWANCES, ALLOWANCES)
def test_more_allowance_is_more_evidence(wins: int, ties: int, losses: int, one: float, other: float) -> None:
    less, more = (
        float(evidence.log_evidence(wins, ties, losses, allowance=size)) for size in sorted((one, other))
    )
    assert less <= more + 1e-9


@given(st.integers(0, 50).map(lambda share: share / 100), st.integers(1, 60))
def test_on_average_nothing_is_won_where_the_candidate_is_not_better(win_share: float, labels: int) -> None:
    wins = np.arange(labels + 1)
    mean = binom.pmf(wins, labels, win_share) @ np.exp(evidence.log_evidence(wins, 0 * wins, labels - wins))
    assert mean <= 1 + 1e-9
    if win_share == 0.5:
        assert mean == pytest.approx(1)


@given(st.integers(0, 90).map(lambda share: share / 100), PERCENT, PERCENT, st.integers(1, 12))
def test_on_average_nothing_is_won_where_the_candidate_is_worse_than_allowed(
    allowance: float, decided: float, depth: float, labels: int
) -> None:
    # Shares of wins and losses whose difference is the limit, or below it by some of what is left.
    decided = max(decided, allowance)
    mean_score = -allowance - depth * (decided - allowance)
    shares = np.clip([(decided + mean_score) / 2, 1 - decided, (decided - mean_score) / 2], 0, 1)
    counts = np.array([(w, labels - w - x, x) for w in range(labels + 1) for x in range(labels + 1 - w)])
    weights = multinomial.pmf(counts, labels, shares / shares.sum())
    mean = weights @ np.exp(evidence.log_evidence(*counts.T, allowance=allowance))
    assert mean <= 1 + 1e-6
    if depth == 0:
        assert mean == pytest.approx(1, abs=1e-6)


def test_a_million_labels_are_still_weighed() -> None:
    lopsided = evidence.log_evidence([700_000, 300_000], [0, 0], [300_000, 700_000])
    assert np.isfinite(lopsided).all()
    assert lopsided[0] > 80_000
    assert lopsided[1] < 0


def test_no_label_is_no_evidence() -> None:
    assert float(evidence.log_evidence(0, 0, 0)) == pytest.approx(0)
    assert float(evidence.log_evidence(0, 0, 0, allowance=0.5)) == pytest.approx(0)
