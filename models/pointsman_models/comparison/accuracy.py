"""The accuracy of both models, estimated from few labels, most of which are of disagreements.

The labelled texts are not a fair sample of the traffic: disagreements are labelled first, because only they tell the
models apart, and agreements by a sample. Each labelled text therefore stands for `1 / probability` texts of its kind
(Horvitz and Thompson, "A generalization of sampling without replacement from a finite universe", JASA 47, 1952), and
each kind has the weight that it has among all compared texts, whose numbers are known. Within a kind the sum of the
weights is the denominator (Hájek 1971): the plain Horvitz-Thompson sum would count a text that was drawn and is not
labelled *yet* as one that both models got wrong. With equal probabilities within a kind, as from a reservoir, this is
the post-stratified mean, which is unbiased.

The intervals are for one look. The `verdict` may be looked at after every label.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pointsman_models.comparison import intervals, labels
from pointsman_shared.wire.shadow_report import Accuracy, Interval

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stratum:
    """The labelled texts of one kind, and the share of that kind among all compared texts."""

    pairs: Sequence[labels.LabelledPair]
    share: float

    @property
    def known(self) -> bool:
        return not self.share or bool(self.pairs)

    @property
    def weights(self) -> Floats:
        return np.array([1 / (pair.probability or 1.0) for pair in self.pairs])

    @property
    def effective_size(self) -> float:
        """Return the size of an equally weighted sample of the same precision (Kish, "Survey Sampling", 1965)."""
        weights = self.weights
        return float(weights.sum() ** 2 / (weights @ weights))

    def mean(self, values: Sequence[int]) -> float:
        return float(np.average(values, weights=self.weights))

    def wilson(self, values: Sequence[int]) -> Interval:
        size = self.effective_size
        return intervals.wilson(size * self.mean(values), size)


def estimate(pairs: Sequence[labels.LabelledPair], *, texts: int, agreed: int) -> Accuracy:
    """Estimate both accuracies and their difference, with intervals at 95%.

    Args:
        pairs: All labelled pairs, in any order.
        texts: The number of compared texts, labelled or not.
        agreed: The number of them on which the models agreed.
    """
    same, other = labels.drawn(pairs, agreed=True), labels.drawn(pairs, agreed=False)
    share = agreed / texts if texts else 0.0
    strata = (_Stratum(pairs=same, share=share), _Stratum(pairs=other, share=1 - share))
    known = bool(texts) and all(stratum.known for stratum in strata)
    return Accuracy(
        served=_overall(strata, "served_right", texts) if known else None,
        candidate=_overall(strata, "candidate_right", texts) if known else None,
        difference=_difference(strata[1], texts) if texts and strata[1].known else None,
        labelled_agreements=len(same),
        labelled_disagreements=len(other),
        set_aside=sum(pair.probability is None for pair in pairs),
    )


def _overall(strata: Sequence[_Stratum], right: str, texts: int) -> Interval:
    """Add up the accuracies of both kinds, and their Wilson intervals by the squares of their arms.

    Zou and Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 27 (2008). Unlike
    the usual normal interval it has a width even if all labelled agreements are right, which is common.
    """
    used = [stratum for stratum in strata if stratum.share]
    parts = [stratum.wilson([getattr(pair, right) for pair in stratum.pairs]) for stratum in used]
    shares = [stratum.share for stratum in used]
    value = sum(share * part.value for share, part in zip(shares, parts, strict=True))
    below = sum((share * (part.value - part.low)) ** 2 for share, part in zip(shares, parts, strict=True))
    above = sum((share * (part.high - part.value)) ** 2 for share, part in zip(shares, parts, strict=True))
    # The shares of the kinds are estimates too: the compared texts are a sample of the traffic.
    gap = parts[0].value - parts[-1].value
    mixed = intervals.normal_quantile() ** 2 * gap**2 * shares[0] * (1 - shares[0]) / texts
    return Interval(
        value=value,
        low=max(0.0, value - math.sqrt(below + mixed)),
        high=min(1.0, value + math.sqrt(above + mixed)),
    )


def _difference(disagreements: _Stratum, texts: int) -> Interval:
    """Return the mean score of a disagreement times the share of disagreements; agreements have a score of 0.

    The interval is that of Agresti and Min, "Simple improved confidence intervals for comparing matched proportions",
    Statistics in Medicine 24 (2005), which adds half a win, half a loss and a tie.
    """
    share = disagreements.share
    if not share:
        return Interval(value=0.0, low=0.0, high=0.0)
    scores = [pair.score for pair in disagreements.pairs]
    mean, decided = disagreements.mean(scores), disagreements.mean([abs(score) for score in scores])
    size = disagreements.effective_size
    centre = size * mean / (size + 2)
    variance = ((size * decided + 1) / (size + 2) - centre**2) / (size + 2)
    spread = share**2 * variance + centre**2 * share * (1 - share) / texts
    half = intervals.normal_quantile() * math.sqrt(spread)
    return Interval(
        value=share * mean, low=max(-1.0, share * centre - half), high=min(1.0, share * centre + half)
    )
