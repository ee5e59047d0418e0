"""How far, where and in which direction two models' answers differ, without any label.

None of it says which model is better; that takes labels (`verdict`). SciPy has no interval for kappa and neither of
the two tests. statsmodels has them, but it brings pandas (150 MB) and fails on intents to which no text ever moved. So
the formulas are here, and the tests compare them with statsmodels.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import chi2

from pointsman_models.comparison import counts as comparison
from pointsman_models.comparison import intervals
from pointsman_shared.wire.shadow_report import ChiSquared, Flow, IntentFigures, Interval, Rate

Flows = Mapping[tuple[str, str], int]
Table = NDArray[np.int64]

# Cochran's rule: a chi-squared approximation holds if at most a fifth of the cells expect fewer than 5 texts.
FEW_TEXTS = 5
SPARSE_PART = 0.2


def rate(agreed: int, texts: int) -> Rate | None:
    """Return the agreement with its interval; None without texts."""
    if not texts:
        return None
    found = intervals.wilson(agreed, texts)
    return Rate(agreed=agreed, texts=texts, value=found.value, low=found.low, high=found.high)


def table(flows: Flows) -> tuple[list[str], Table]:
    """Arrange the flows in a square table: served intents down, the candidate's across.

    Returns:
        The intents in alphabetical order, and the counts, shape (intents, intents).
    """
    intents = sorted({intent for pair in flows for intent in pair})
    place = {intent: index for index, intent in enumerate(intents)}
    counts = np.zeros((len(intents), len(intents)), dtype=np.int64)
    for (served, candidate), count in flows.items():
        counts[place[served], place[candidate]] = count
    return intents, counts


def kappa(counts: Table) -> Interval | None:
    """Return Cohen's kappa, the agreement beyond chance, with its large-sample interval at 95%.

    Fleiss, Cohen, Everitt, "Large sample standard errors of kappa and weighted kappa", Psychological Bulletin 72
    (1969).

    Returns:
        None if chance alone always agrees: there are no texts, or only one intent.
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
    # The share of (i, j) is weighted with the candidate's margin of i and the served model's of j.
    margins = (candidate[:, None] + served[None, :]) ** 2
    off_diagonal = rest**2 * (np.sum(shares * margins) - both @ np.diag(margins))
    spread = on_diagonal + off_diagonal - (value - by_chance * rest) ** 2
    half = intervals.normal_quantile() * math.sqrt(max(0.0, spread) / total) / (1 - by_chance)
    return Interval(value=value, low=max(-1.0, value - half), high=min(1.0, value + half))


def stuart_maxwell(counts: Table) -> ChiSquared | None:
    """Test whether both models give each intent equally often.

    Stuart, "A test for homogeneity of the marginal distributions in a two-way classification", Biometrika 42 (1955);
    Maxwell, British Journal of Psychiatry 116 (1970). The covariance matrix is the Laplacian of the graph whose edges
    are the texts that moved between intents. Its rank is the number of intents minus the number of connected parts; as the
    test leaves out one intent, one of each part is left out here, and what remains can be solved.

    Returns:
        None if no text moved.
    """
    moved = _moved(counts)
    both_ways = moved + moved.T
    parts, part_of = connected_components(csr_array(both_ways), directed=False)
    degrees = len(counts) - int(parts)
    if not degrees:
        return None
    difference = moved.sum(axis=1) - moved.sum(axis=0)
    laplacian = np.diag(both_ways.sum(axis=1)) - both_ways
    kept = np.ones(len(counts), dtype=bool)
    kept[np.unique(part_of, return_index=True)[1]] = False
    covariance, difference = laplacian[np.ix_(kept, kept)], difference[kept]
    statistic = float(difference @ np.linalg.solve(covariance, difference))
    touched = both_ways.sum(axis=1)
    return _test(statistic, degrees, expected=touched[touched > 0] / 2)


def bowker(counts: Table) -> ChiSquared | None:
    """Test whether as many texts moved from each intent to each other one as back.

    Bowker, "A test for symmetry in contingency tables", JASA 43 (1948). A pair of intents without moves has no degree
    of freedom.

    Returns:
        None if no text moved.
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
    """Return the disagreements, the most frequent first."""
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
    """Return each intent's figures, the most frequent first."""
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


def confidence_shift(shift: comparison.Shift | None) -> Interval | None:
    """Return the mean change of the confidence, with its large-sample interval at 95%."""
    if shift is None:
        return None
    half = intervals.normal_quantile() * math.sqrt(shift.variance / shift.texts)
    return Interval(value=shift.mean, low=shift.mean - half, high=shift.mean + half)


def latency_ratio(served: comparison.Side, candidate: comparison.Side) -> float | None:
    """Return the candidate's mean time for a text over the served model's."""
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
