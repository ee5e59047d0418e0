"""The fused scorer: the fitted pipeline's own decision function, without scikit-learn's layers.

For a linear model over tf-idf n-grams a score is a sum of weights divided by a norm. Looking n-grams up in the
fitted vocabulary and summing the fitted weights gives the same scores as the pipeline (equal to 1e-9 in property
tests) at a fraction of its cost. The texts of a message are cut into tokens all at once.

scikit-learn stays the trainer and the oracle; this module only reads what it fitted.
"""

import math
from collections.abc import Sequence
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import FeatureUnion, Pipeline

from pointsman_models.inference.grams import CharacterGrams, WordGrams
from pointsman_models.inference.tokens import Numbers, Preprocessor

Scores = NDArray[np.float64]

# The token patterns that are known, and the letters of the shortest word that each takes.
_SHORTEST_WORD = {r"(?u)\b\w+\b": 1, r"(?u)\b\w\w+\b": 2}


class FusedScorer:
    """Scores texts exactly as `pipeline.decision_function` does, for the pipelines Pointsman trains.

    Not safe for concurrent use: one scorer belongs to one thread at a time.
    """

    def __init__(self, blocks: Sequence["_Block"], intercept: Scores) -> None:
        self._blocks = blocks
        self._intercept = intercept

    @classmethod
    def from_pipeline(cls, pipeline: Pipeline) -> Self:
        """Fold a fitted pipeline's vocabulary, idf and weights together.

        Args:
            pipeline: `features` (a TfidfVectorizer or a FeatureUnion of them) and `classifier` (linear).

        Raises:
            ValueError: The pipeline uses something the scorer cannot reproduce.
        """
        features, classifier = pipeline.named_steps["features"], pipeline.named_steps["classifier"]
        vectorizers = (
            [step for _, step in features.transformer_list]
            if isinstance(features, FeatureUnion)
            else [features]
        )
        if isinstance(features, FeatureUnion) and features.transformer_weights:
            msg = "the fused scorer does not reproduce transformer_weights"
            raise ValueError(msg)
        weights = np.ascontiguousarray(classifier.coef_.T, dtype=np.float64)
        ends = np.cumsum([len(vectorizer.vocabulary_) for vectorizer in vectorizers])
        blocks = [
            _make_block(vectorizer, part)
            for vectorizer, part in zip(vectorizers, np.split(weights, ends[:-1]), strict=True)
        ]
        return cls(blocks, np.asarray(classifier.intercept_, dtype=np.float64))

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


class _Grams(Protocol):
    """The n-grams of a vectorizer."""

    def find(self, texts: Sequence[str]) -> tuple[Numbers, Numbers]:
        """Return the text and the place of every known n-gram, as often as it occurs."""

    def find_in(self, text: str) -> Sequence[int] | NDArray[np.int32]:
        """Return the place of every known n-gram of one text, as often as it occurs."""


class _Block:
    """One fitted TfidfVectorizer with the classifier's weights for its features."""

    def __init__(self, grams: _Grams, vectorizer: TfidfVectorizer, weights: Scores) -> None:
        self._grams = grams
        self._idf: Scores = vectorizer.idf_ if vectorizer.use_idf else np.ones(len(weights))
        self._weights = weights
        self._sublinear: bool = vectorizer.sublinear_tf

    def scores(self, texts: Sequence[str]) -> Scores:
        """Return this block's part of every text's scores: shape (texts, columns)."""
        if len(texts) == 1:
            return self._scores_of_one(texts[0])
        rows, places = self._grams.find(texts)
        rows, places, counts = _counted(rows, places, len(self._idf))
        values = self._weigh(places, counts)
        squares = np.bincount(rows, weights=values * values, minlength=len(texts))
        # A text without a known feature has a norm of zero, by which nothing is divided.
        squares[squares == 0] = 1.0
        values /= np.sqrt(squares)[rows]
        starts = np.searchsorted(rows, np.arange(len(texts) + 1))
        matrix = csr_array((values, places, starts), shape=(len(texts), len(self._weights)))
        product: Scores = matrix @ self._weights
        return product

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


def _make_block(vectorizer: TfidfVectorizer, weights: Scores) -> _Block:
    wanted: dict[str, Any] = {
        "input": "content",
        "decode_error": "strict",
        "preprocessor": None,
        "tokenizer": None,
        "stop_words": None,
        "norm": "l2",
        "binary": False,
    }
    odd = [name for name, value in wanted.items() if getattr(vectorizer, name) != value]
    if vectorizer.strip_accents not in {None, "unicode"}:
        odd.append("strip_accents")
    if vectorizer.analyzer == "word" and vectorizer.token_pattern not in _SHORTEST_WORD:
        odd.append("token_pattern")
    if odd or vectorizer.analyzer not in {"word", "char_wb"}:
        msg = f"the fused scorer does not reproduce {', '.join(odd) or f'analyzer={vectorizer.analyzer!r}'}"
        raise ValueError(msg)
    preprocessor = Preprocessor(
        lowercase=vectorizer.lowercase, strips_accents=vectorizer.strip_accents is not None
    )
    vocabulary = {term: int(place) for term, place in vectorizer.vocabulary_.items()}
    grams: _Grams
    if vectorizer.analyzer == "word":
        grams = WordGrams(vocabulary, preprocessor, shortest_word=_SHORTEST_WORD[vectorizer.token_pattern])
    else:
        grams = CharacterGrams(vocabulary, preprocessor, sizes=vectorizer.ngram_range)
    return _Block(grams, vectorizer, weights)
