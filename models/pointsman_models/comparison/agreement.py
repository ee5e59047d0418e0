"""What two models' answers say of each other without any label: how far, where and in which direction they differ.

None of it says which model is better; that takes labels (`verdict`). SciPy has no kappa interval and neither of the
two tests. statsmodels has, and brings pandas with it (150 MB that nothing here needs); it also takes the tables apart
in ways that fail on intents that nobody was ever moved to. So the formulas are here, and statsmodels is what the
tests hold them against.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import chi2

from pointsman_models.comparison import counts as comparison
from pointsman_models.comparison import intervals

Flows = Mapping[tuple[str, str], int]
Table = NDArray[np.int64]

# Cochran's rule: a chi-squared approximation holds if at most a fifth of the cells expect fewer than 5 texts.
FEW_TEXTS = 5
SPARSE_PART = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """On how many of some texts the models agreed, with a Wilson interval."""

    agreed: int
    texts: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ChiSquared:
    """The result of a chi-squared test."""

    statistic: float
    degrees: int
    p_value: float
    sparse: bool
    """Whether most moves are so rare that the p-value is a rough one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The texts that one intent lost to another."""

    served: str
    candidate: str
    texts: int
    share_of_served: float
    """Of the texts to which the served model gave that intent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentFigures:
    """How often both models gave an intent, and on how many texts they gave it both."""

    intent: str
    served: int
    candidate: int
    agreement: Rate | None
    """Of the texts to which the served model gave it; None if there are none."""


def rate(agreed: int, texts: int) -> Rate | None:
    """Give the agreement with its interval, or None of no texts."""
    if not texts:
        return None
    found = intervals.wilson(agreed, texts)
    return Rate(agreed=agreed, texts=texts, value=found.value, low=found.low, high=found.high)


def table(flows: Flows) -> tuple[list[str], Table]:
    """Lay the flows out as a square table: served intents down, the candidate's across.

    Returns:
        The intents in alphabetical order, and the counts, shape (intents, intents).
    """
    intents = sorted({intent for pair in flows for intent in pair})
    place = {intent: index for index, intent in enumerate(intents)}
    counts = np.zeros((len(intents), len(intents)), dtype=np.int64)
    for (served, candidate), count in flows.items():
        counts[place[served], place[candidate]] = count
    return intents, counts


def kappa(counts: Table) -> intervals.Interval | None:
    """Give Cohen's kappa, the agreement beyond that of chance, with its large-sample interval at 95%.

    Fleiss, Cohen, Everitt, "Large sample standard errors of kappa and weighted kappa", Psychological Bulletin 72
    (1969).

    Returns:
        None where chance alone agrees always: there are no texts, or one intent only.
    """
    total = counts.sum()
    if not total:
        return None
    shares = counts / total
    served, candidate = shares.sum(axis=1), shares.sum(axis=0)
    by_chance = float(served @ candidate)
    if math.isclose(by_chance, 1):
        return None
    value = float((np.trace(shares) - by_chance) / (1 - by_chance))
    rest = 1 - value
    both = np.diag(shares)
    on_diagonal = both @ (1 - (served + candidate) * rest) ** 2
    # The share of (i, j) is weighed with the candidate's margin of i and the served one's of j.
    margins = (candidate[:, None] + served[None, :]) ** 2
    off_diagonal = rest**2 * (np.sum(shares * margins) - both @ np.diag(margins))
    spread = on_diagonal + off_diagonal - (value - by_chance * rest) ** 2
    half = intervals.normal_quantile() * math.sqrt(max(0.0, spread) / total) / (1 - by_chance)
    return intervals.Interval(value=value, low=max(-1.0, value - half), high=min(1.0, value + half))


def stuart_maxwell(counts: Table) -> ChiSquared | None:
    """Test whether both models give each intent equally often.

    Stuart, "A test for homogeneity of the marginal distributions in a two-way classification", Biometrika 42 (1955);
    Maxwell, British Journal of Psychiatry 116 (1970). The covariance matrix is the Laplacian of the graph whose edges
    are the texts moved between intents: its rank is the number of intents less that of the graph's parts, and the
    pseudoinverse serves where parts are not connected, or an intent lost and won nothing.

    Returns:
        None where no text was moved.
    """
    moved = _moved(counts)
    both_ways = moved + moved.T
    parts, _ = connected_components(csr_array(both_ways), directed=False)
    degrees = len(counts) - int(parts)
    if not degrees:
        return None
    difference = moved.sum(axis=1) - moved.sum(axis=0)
    laplacian = np.diag(both_ways.sum(axis=1)) - both_ways
    statistic = float(difference @ np.linalg.pinv(laplacian, hermitian=True) @ difference)
    touched = both_ways.sum(axis=1)
    return _test(statistic, degrees, expected=touched[touched > 0] / 2)


def bowker(counts: Table) -> ChiSquared | None:
    """Test whether as many texts moved from each intent to each other one as back.

    Bowker, "A test for symmetry in contingency tables", JASA 43 (1948). Pairs of intents between which nothing moved
    carry no information and no degree of freedom.

    Returns:
        None where no text was moved.
    """
    moved = _moved(counts)
    upper = np.triu_indices(len(counts), 1)
    there, back = moved[upper], moved.T[upper]
    together = there + back
    used = together > 0
    if not used.any():
        return None
    statistic = float(np.sum((there[used] - back[used]) ** 2 / together[used]))
    return _test(statistic, int(used.sum()), expected=together[used] / 2)


def flows(found: Flows) -> list[Flow]:
    """Give the disagreements, the most frequent first."""
    served = _totals(found, 0)
    moved = sorted(
        ((count, pair) for pair, count in found.items() if pair[0] != pair[1]),
        key=lambda entry: (-entry[0], entry[1]),
    )
    return [
        Flow(served=pair[0], candidate=pair[1], texts=count, share_of_served=count / served[pair[0]])
        for count, pair in moved
    ]


def by_intent(found: Flows) -> list[IntentFigures]:
    """Give each intent's figures, the most frequent first."""
    served, candidate = _totals(found, 0), _totals(found, 1)
    figures = [
        IntentFigures(
            intent=intent,
            served=served.get(intent, 0),
            candidate=candidate.get(intent, 0),
            agreement=rate(found.get((intent, intent), 0), served.get(intent, 0)),
        )
        for intent in served | candidate
    ]
    return sorted(figures, key=lambda one: (-one.served, -one.candidate, one.intent))


def confidence_shift(shift: comparison.Shift | None) -> intervals.Interval | None:
    """Give the mean by which the candidate is surer, with its large-sample interval at 95%."""
    if shift is None:
        return None
    half = intervals.normal_quantile() * math.sqrt(shift.variance / shift.texts)
    return intervals.Interval(value=shift.mean, low=shift.mean - half, high=shift.mean + half)


def latency_ratio(served: comparison.Side, candidate: comparison.Side) -> float | None:
    """Give how many times as long as the served model the candidate takes for a text."""
    if not served.mean_latency_ms or candidate.mean_latency_ms is None:
        return None
    return candidate.mean_latency_ms / served.mean_latency_ms


def _moved(counts: Table) -> NDArray[np.float64]:
    return (counts - np.diag(np.diag(counts))).astype(np.float64)


def _test(statistic: float, degrees: int, *, expected: NDArray[np.float64]) -> ChiSquared:
    return ChiSquared(
        statistic=statistic,
        degrees=degrees,
        p_value=float(chi2.sf(statistic, degrees)),
        sparse=bool(np.mean(expected < FEW_TEXTS) > SPARSE_PART),
    )


def _totals(found: Flows, side: int) -> dict[str, int]:
    totals: dict[str, int] = {}
    for pair, count in found.items():
        totals[pair[side]] = totals.get(pair[side], 0) + count
    return totals
