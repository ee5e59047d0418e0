"""The classifier that serves: scores, calibrated probabilities, and `out_of_scope` if no intent is likely.

It holds one version of one tier. It does not know where versions are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pointsman_models.inference.linear_model import LinearModel
from pointsman_models.inference.scorer import FusedScorer, Scores
from pointsman_shared import names

# The digits of a probability.
DECIMALS = 4
# The most that rounding to single precision does to a probability.
ROUNDED = 1e-5

Real = TypeVar("Real", NDArray[np.float32], NDArray[np.float64])


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Answers in columns, one entry per text."""

    intent: list[str]
    confidence: list[float]
    """The calibrated probability of the likeliest intent, also where the answer is `out_of_scope`."""
    ranking: list[list[int]]
    """The likeliest intents, best first, as places in `Classifier.intents`."""
    ranking_confidence: list[list[float]]


class Classifier:
    """One version of a tier, ready to classify.

    Not safe for concurrent use: see `FusedScorer`.

    Attributes:
        tier: The tier's name.
        version: The version's number in the registry.
        intents: The intents it can answer; `out_of_scope` is not one of them.
    """

    def __init__(
        self, model: LinearModel, *, tier: str, version: int, temperature: float, threshold: float
    ) -> None:
        """Build the serving form of a model.

        Args:
            model: The model; `out_of_scope` may be one of its classes.
            tier: The tier's name.
            version: The version's number.
            temperature: The factor of the scores before the softmax.
            threshold: The confidence below which the answer is `out_of_scope`.
        """
        self.tier = tier
        self.version = version
        self.intents = tuple(label for label in model.classes if label != names.OUT_OF_SCOPE)
        self.threshold = threshold
        self._scorer = FusedScorer(model)
        self._temperature = temperature
        self._in_scope = np.flatnonzero([label != names.OUT_OF_SCOPE for label in model.classes])
        self._out_of_scope = np.flatnonzero([label == names.OUT_OF_SCOPE for label in model.classes])
        self._is_binary = len(model.classes) == 2  # noqa: PLR2004  both share a column

    def probabilities(self, texts: Sequence[str]) -> Scores:
        """Return the calibrated probability of every intent: shape (texts, intents).

        A row sums to less than one if the model has learnt what is out of scope.
        """
        found: Scores = softmax(self._scorer.decision_function(texts), self._temperature)
        return found if len(self.intents) == found.shape[1] else found.take(self._in_scope, axis=1)

    def classify(self, texts: Sequence[str], *, ranked: int = 1) -> Predictions:
        """Classify texts. Equal texts are scored once, because real chat is full of "hi", "yes" and "thanks".

        Args:
            texts: Any number of texts.
            ranked: How many intents a ranking has at most.
        """
        distinct = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        # Single precision is quicker for one intent of many, of several texts.
        find = self._first if ranked == 1 < len(distinct) and not self._is_binary else self._best
        best, shares = find(list(distinct), ranked)
        if len(distinct) < len(texts):
            places = [distinct[text] for text in texts]
            best, shares = best[places], shares[places]
        # The comparison uses the exact value, so that the threshold is the one on the card.
        known = (shares[:, 0] >= self.threshold).tolist()
        ranking, confidences = best.tolist(), np.round(shares, DECIMALS).tolist()
        intents = self.intents
        return Predictions(
            intent=[
                intents[places[0]] if sure else names.OUT_OF_SCOPE
                for places, sure in zip(ranking, known, strict=True)
            ],
            confidence=[row[0] for row in confidences],
            ranking=ranking,
            ranking_confidence=confidences,
        )

    def _first(self, texts: Sequence[str], ranked: int) -> tuple[NDArray[np.int64], Scores]:
        """Return what `_best` does for one intent, found in single precision wherever that cannot change the answer."""
        scores, error = self._scorer.roughly(texts)
        shares = softmax(scores, self._temperature)
        scores[:, self._out_of_scope] = -np.inf
        first = scores.argmax(axis=1)
        rows = np.arange(len(texts))
        share = shares[rows, first].astype(np.float64)
        rivals = (scores >= (scores[rows, first] - 2 * error)[:, None]).sum(axis=1)
        # A probability changes by at most half of what the difference of two scores changes by, times the temperature.
        near = np.abs(share - self.threshold) <= self._temperature * error + ROUNDED
        best = np.searchsorted(self._in_scope, first)
        if (doubtful := np.flatnonzero((rivals > 1) | near)).size:
            exact, exact_share = self._best([texts[row] for row in doubtful.tolist()], ranked)
            best[doubtful], share[doubtful] = exact[:, 0], exact_share[:, 0]
        return best[:, None], share[:, None]

    def _best(self, texts: Sequence[str], ranked: int) -> tuple[NDArray[np.int64], Scores]:
        """Return the likeliest intents of texts, best first, and their probabilities: shape (texts, at most `ranked`)."""
        count = min(ranked, len(self.intents))
        left = self.probabilities(texts)
        best = np.empty((len(left), count), dtype=np.int64)
        shares = np.empty((len(left), count))
        rows = np.arange(len(left))
        # For a few of many intents, several times faster than to order or to part them.
        for place in range(count):
            best[:, place] = first = left.argmax(axis=1)
            shares[:, place] = left[rows, first]
            left[rows, first] = -1.0
        return best, shares


def softmax(scores: Real, temperature: float) -> Real:
    """Turn decision scores into probabilities by temperature scaling.

    `softmax(temperature * scores)`; Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2
    (there the scores are divided by the temperature). A binary classifier's one column `d` stands for `(-d, d)`.

    Args:
        scores: Shape (texts, classes), or (texts, 1) or (texts,) for two classes.
        temperature: Positive.

    Returns:
        Shape (texts, classes); rows sum to one.
    """
    if scores.ndim == 1:
        scores = scores[:, None]
    if scores.shape[1] == 1:
        scores = np.hstack([-scores, scores])
    exponents = scores * scores.dtype.type(temperature)
    exponents -= exponents.max(axis=1, keepdims=True)
    np.exp(exponents, out=exponents)
    exponents /= exponents.sum(axis=1, keepdims=True)
    return exponents
