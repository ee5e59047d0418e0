"""The fused scorer: the fitted pipeline's own decision function, without scikit-learn's layers.

For a linear model over tf-idf n-grams a score is a sum of weights divided by a norm. Looking n-grams up in the
fitted vocabulary and summing the fitted weights gives the same scores as the pipeline (equal to 1e-9 in property
tests) at a fraction of its cost. The texts of a message are cut into tokens all at once.

scikit-learn stays the trainer and the oracle; what it fitted comes here as plain data.
"""

import math
from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pointsman_models.inference.grams import CharacterGrams, WordGrams
from pointsman_models.inference.linear_model import Block, LinearModel
from pointsman_models.inference.tokens import Numbers, Preprocessor

Scores = NDArray[np.float64]
RoughScores = NDArray[np.float32]

# The relative error of one operation in single precision.
_ROUNDING: Final = float(np.finfo(np.float32).eps)


class FusedScorer:
    """Scores texts exactly as `pipeline.decision_function` does, for the pipelines Pointsman trains.

    Not safe for concurrent use: one scorer belongs to one thread at a time.
    """

    def __init__(self, model: LinearModel) -> None:
        """Build the tables in which n-grams are looked up."""
        self._blocks = [_Block(block) for block in model.blocks]
        self._intercept = model.intercept
        self._largest_intercept = float(np.abs(model.intercept).max(initial=0.0))
        self._rough_intercept = model.intercept.astype(np.float32)

    def decision_function(self, texts: Sequence[str]) -> Scores:
        """Score texts.

        Args:
            texts: Any number of texts; they may be empty.

        Returns:
            Shape (texts, columns); a binary classifier has one column.
        """
        first, *others = [block.scores(texts) for block in self._blocks]
        for other in others:
            first += other
        first += self._intercept
        return first

    def roughly(self, texts: Sequence[str]) -> tuple[RoughScores, float]:
        """Score texts in single precision: half the memory to read is most of the time where there are many classes.

        Returns:
            Scores of shape (texts, columns), and the most by which any of them may be wrong.
        """
        scores, error, largest = self._blocks[0].rough(texts)
        for block in self._blocks[1:]:
            more, its_error, its_largest = block.rough(texts)
            scores += more
            error, largest = error + its_error, largest + its_largest
        scores += self._rough_intercept
        return scores, error + _ROUNDING * (len(self._blocks) + 1) * (largest + self._largest_intercept)


class _Grams(Protocol):
    """The n-grams of a vectorizer."""

    def find(self, texts: Sequence[str]) -> tuple[Numbers, Numbers]:
        """Return the text and the place of every known n-gram, as often as it occurs."""

    def find_in(self, text: str) -> Sequence[int] | NDArray[np.int32]:
        """Return the place of every known n-gram of one text, as often as it occurs."""


class _Block:
    """The n-grams of one kind and their weights."""

    def __init__(self, block: Block) -> None:
        self._grams = _find_grams(block)
        self._idf = block.idf
        self._weights = block.weights
        self._rough_weights = block.weights.astype(np.float32)
        self._largest = float(np.abs(block.weights).max(initial=0.0))
        self._sublinear = block.grams.sublinear

    def scores(self, texts: Sequence[str]) -> Scores:
        """Return this block's part of every text's scores: shape (texts, columns)."""
        if len(texts) == 1:
            return self._scores_of_one(texts[0])
        product: Scores = self._features(texts) @ self._weights
        return product

    def rough(self, texts: Sequence[str]) -> tuple[RoughScores, float, float]:
        """Return this block's part of every text's scores in single precision, by how much it may be wrong, and its largest.

        A sum of n products is wrong by at most `(n + 2) * rounding * sum |value * weight|` (Higham, "Accuracy and
        Stability of Numerical Algorithms", section 3.1, and one rounding of each factor); the values have norm one,
        so the sum is at most `sqrt(n) * largest weight`.
        """
        features = self._features(texts)
        features.data = features.data.astype(np.float32)
        product: RoughScores = features @ self._rough_weights
        most = int(np.diff(features.indptr).max(initial=0))
        largest = math.sqrt(most) * self._largest
        return product, (most + 2) * _ROUNDING * largest, largest

    def _features(self, texts: Sequence[str]) -> csr_array:
        """Return the weighed n-grams of texts, each row of norm one."""
        rows, places = self._grams.find(texts)
        rows, places, counts = _counted(rows, places, len(self._idf))
        values = self._weigh(places, counts)
        squares = np.bincount(rows, weights=values * values, minlength=len(texts))
        # A text without a known feature has a norm of zero, by which nothing is divided.
        squares[squares == 0] = 1.0
        values /= np.sqrt(squares)[rows]
        starts = np.searchsorted(rows, np.arange(len(texts) + 1))
        return csr_array((values, places, starts), shape=(len(texts), len(self._weights)))

    def _scores_of_one(self, text: str) -> Scores:
        places = np.array(self._grams.find_in(text), dtype=np.int64)
        places.sort()
        if (places[1:] == places[:-1]).any():
            _, places, counts = _counted(np.zeros_like(places), places, len(self._idf))
            values = self._weigh(places, counts)
        else:
            values = self._idf[places]
        norm = math.sqrt(values @ values) or 1.0
        return (values @ self._weights[places] / norm)[None, :]

    def _weigh(self, places: Numbers, counts: Scores) -> Scores:
        frequencies = 1.0 + np.log(counts) if self._sublinear else counts
        return frequencies * self._idf[places]


def _counted(rows: Numbers, places: Numbers, width: int) -> tuple[Numbers, Numbers, Scores]:
    """Count the n-grams of each text: of each text and place once, ordered, with how often it occurs."""
    keys = rows * np.int64(width) + places
    keys.sort()
    first = np.empty(len(keys), dtype=bool)
    first[:1] = True
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    starts = np.flatnonzero(first)
    counts = np.diff(starts, append=len(keys)).astype(np.float64)
    rows, places = np.divmod(keys[starts], width)
    return rows, places, counts


def _find_grams(block: Block) -> _Grams:
    options = block.grams
    vocabulary = {term: place for place, term in enumerate(block.terms)}
    preprocessor = Preprocessor(lowercase=options.lowercase, strips_accents=options.strips_accents)
    if options.analyzer == "word":
        return WordGrams(vocabulary, preprocessor, shortest_word=options.shortest_word)
    return CharacterGrams(vocabulary, preprocessor, sizes=(options.shortest, options.longest))
