"""Intervals for shares: for one look at the data, and for any number of looks."""

import math

from scipy.optimize import brentq
from scipy.special import betaln, ndtri, xlogy

from pointsman_shared.wire.shadow_report import Interval

CONFIDENCE = 0.95


def normal_quantile(confidence: float = CONFIDENCE) -> float:
    """Return the z such that a standard normal variable lies in (-z, z) with this probability."""
    return float(ndtri((1 + confidence) / 2))


def wilson(successes: float, total: float, *, confidence: float = CONFIDENCE) -> Interval:
    """Return a share and its score interval, valid for one look.

    Wilson, "Probable Inference", JASA 22 (1927). SciPy's takes whole numbers only; the effective size of a weighted
    sample is not a whole number.

    Args:
        successes: In [0, total].
        total: Above 0.
        confidence: In (0, 1).
    """
    z2 = normal_quantile(confidence) ** 2
    share = successes / total
    centre = (successes + z2 / 2) / (total + z2)
    half = math.sqrt(z2 * (successes * (1 - share) + z2 / 4)) / (total + z2)
    return Interval(
        value=share, low=max(0.0, min(share, centre - half)), high=min(1.0, max(share, centre + half))
    )


def always_valid(successes: float, failures: float, *, alpha: float) -> Interval:
    """Return a share and an interval that may be looked at after every observation.

    The probability that the true share is *ever* outside is at most `alpha`, however often one looks. The interval
    holds the shares against which the evidence `B(1 + x, 1 + n - x) / (p^x (1 - p)^(n - x))` is below `1 / alpha`:
    Robbins, "Statistical methods related to the law of the iterated logarithm", Ann. Math. Statist. 41 (1970).
    """
    total = successes + failures
    return Interval(
        value=successes / total if total else 0.5,
        low=_lowest(successes, failures, alpha),
        high=1 - _lowest(failures, successes, alpha),
    )


def _lowest(successes: float, failures: float, alpha: float) -> float:
    if not successes:
        return 0.0
    constant = betaln(1 + successes, 1 + failures) + math.log(alpha)

    def excess(share: float) -> float:
        return float(constant - xlogy(successes, share) - xlogy(failures, 1 - share))

    return float(brentq(excess, 1e-300, successes / (successes + failures), xtol=1e-15))
