"""The fused scorer: the fitted pipeline's own decision function, without scikit-learn's per-call layers.

For a linear model over tf-idf n-grams a score is a sum of weights divided by a norm. Looking n-grams up in the
fitted vocabulary and summing the fitted weights gives the same scores as the pipeline (equal to 1e-9 in property
tests) at a fraction of its cost. Character n-grams never cross a word, so the contribution of a word is computed once
and cached; real chat repeats its words.

scikit-learn stays the trainer and the oracle; this module only reads what it fitted.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import FeatureUnion, Pipeline

Scores = NDArray[np.float64]
Places = NDArray[np.int32]

# Bounds the memory of a child: a word costs about 300 bytes.
MAX_REMEMBERED_WORDS = 50_000
# Up to this many texts, building sparse matrices costs more than it saves.
FEW_TEXTS = 4
_EMPTY: Places = np.empty(0, dtype=np.int32)


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
        scores = np.tile(self._intercept, (len(texts), 1))
        for block in self._blocks:
            block.add_scores(texts, scores)
        return scores


class _Block:
    """One fitted TfidfVectorizer with the classifier's weights for its features."""

    def __init__(self, vectorizer: TfidfVectorizer, weights: Scores) -> None:
        self._vocabulary: dict[str, int] = {
            term: int(place) for term, place in vectorizer.vocabulary_.items()
        }
        self._preprocess: Callable[[str], str] = _preprocessor(vectorizer)
        self._idf: Scores = vectorizer.idf_ if vectorizer.use_idf else np.ones(len(weights))
        self._weights = weights
        self._sublinear: bool = vectorizer.sublinear_tf
        self._shortest, self._longest = vectorizer.ngram_range

    def add_scores(self, texts: Sequence[str], scores: Scores) -> None:
        """Add this block's part to every text's scores, in place."""
        if len(texts) > FEW_TEXTS:
            self._add_to_many(texts, scores)
            return
        for row, text in enumerate(texts):
            self._add_to_one(text, scores[row])

    def _add_to_one(self, text: str, scores: Scores) -> None:
        places, counts = np.unique(self.places(text), return_counts=True)
        if not len(places):
            return
        values = self._weigh(counts.astype(np.float64), places)
        scores += values @ self._weights[places] / np.sqrt(values @ values)

    def _add_to_many(self, texts: Sequence[str], scores: Scores) -> None:
        counts = self.counts(texts)
        counts.data = self._weigh(counts.data, counts.indices)
        squares = np.bincount(_rows(counts), weights=counts.data**2, minlength=len(texts))
        # A text without a known feature has a norm of zero, by which nothing is divided.
        norms = np.sqrt(np.where(squares > 0, squares, 1.0))
        scores += (counts @ self._weights) / norms[:, None]

    def _weigh(self, counts: Scores, places: Places) -> Scores:
        frequencies = 1.0 + np.log(counts) if self._sublinear else counts
        return frequencies * self._idf[places]

    def places(self, text: str) -> Places:
        """Return the place of every known feature in a text, repeated as often as it occurs."""
        raise NotImplementedError

    def counts(self, texts: Sequence[str]) -> csr_array:
        """Count the known features of texts: shape (texts, features), duplicates summed."""
        raise NotImplementedError


class _WordBlock(_Block):
    """Word n-grams."""

    def __init__(self, vectorizer: TfidfVectorizer, weights: Scores) -> None:
        super().__init__(vectorizer, weights)
        self._tokenize: Callable[[str], list[str]] = re.compile(vectorizer.token_pattern).findall

    def places(self, text: str) -> Places:
        return np.array(self._lookup(text), dtype=np.int32)

    def counts(self, texts: Sequence[str]) -> csr_array:
        found = [self._lookup(text) for text in texts]
        matrix = _matrix(found, len(self._weights))
        matrix.sum_duplicates()
        return matrix

    def _lookup(self, text: str) -> list[int]:
        tokens = self._tokenize(self._preprocess(text))
        grams = tokens if self._shortest == 1 else []
        for size in range(max(self._shortest, 2), self._longest + 1):
            grams = [*grams, *map(" ".join, zip(*[tokens[start:] for start in range(size)], strict=False))]
        return [place for place in map(self._vocabulary.get, grams) if place is not None]


class _CharacterBlock(_Block):
    """Character n-grams inside word boundaries (`analyzer="char_wb"`)."""

    def __init__(self, vectorizer: TfidfVectorizer, weights: Scores) -> None:
        super().__init__(vectorizer, weights)
        self._forget()

    def add_scores(self, texts: Sequence[str], scores: Scores) -> None:
        super().add_scores(texts, scores)
        if len(self._word_ids) > MAX_REMEMBERED_WORDS:
            self._forget()

    def _forget(self) -> None:
        self._word_ids: dict[str, int] = {}
        # The words' features, one word after the other, with room for more; word i ends at ends[i + 1].
        self._places: Places = np.empty(1 << 12, dtype=np.int32)
        self._ends: Places = np.zeros(1 << 10, dtype=np.int32)
        self._ones: Scores = np.ones(len(self._places))

    def places(self, text: str) -> Places:
        words = self._preprocess(text).split()
        ids, ends = self._ids(words), self._ends
        return np.concatenate([self._places[ends[word] : ends[word + 1]] for word in ids]) if ids else _EMPTY

    def counts(self, texts: Sequence[str]) -> csr_array:
        found = [self._ids(self._preprocess(text).split()) for text in texts]
        return _matrix(found, len(self._word_ids)) @ self._words_by_features()

    def _ids(self, words: list[str]) -> list[int]:
        ids = self._word_ids
        try:
            return [ids[word] for word in words]
        except KeyError:
            return [ids[word] if word in ids else self._learn(word) for word in words]

    def _learn(self, word: str) -> int:
        get = self._vocabulary.get
        found = [place for gram in self._grams(word) if (place := get(gram)) is not None]
        number, start = len(self._word_ids), self._ends[len(self._word_ids)]
        end = start + len(found)
        self._ends = _with_room(self._ends, number + 2)
        if end > len(self._places):
            self._places = _with_room(self._places, end)
            self._ones = np.ones(len(self._places))
        self._places[start:end] = found
        self._ends[number + 1] = end
        self._word_ids[word] = number
        return number

    def _grams(self, word: str) -> list[str]:
        # As in scikit-learn's _char_wb_ngrams, a word shorter than the n-gram counts once and ends the sizes.
        padded = f" {word} "
        grams: list[str] = []
        for size in range(self._shortest, self._longest + 1):
            last = len(padded) - size
            grams.extend(padded[start : start + size] for start in range(max(last, 0) + 1))
            if last <= 0:
                break
        return grams

    def _words_by_features(self) -> csr_array:
        # Views: so that a new word costs what it adds, not a new table.
        ends = self._ends[: len(self._word_ids) + 1]
        places, ones = self._places[: ends[-1]], self._ones[: ends[-1]]
        return csr_array((ones, places, ends), shape=(len(ends) - 1, len(self._weights)))


def _with_room(array: Places, size: int) -> Places:
    """Return the array with at least so many elements, so that growing by one is cheap on average."""
    return array if size <= len(array) else np.resize(array, max(size, 2 * len(array)))


def _matrix(rows: Sequence[Sequence[int]], width: int) -> csr_array:
    starts = np.zeros(len(rows) + 1, dtype=np.int32)
    np.cumsum([len(row) for row in rows], out=starts[1:])
    places = np.array([place for row in rows for place in row], dtype=np.int32)
    return csr_array((np.ones(len(places)), places, starts), shape=(len(rows), width))


def _rows(matrix: csr_array) -> Places:
    return np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))


def _preprocessor(vectorizer: TfidfVectorizer) -> Callable[[str], str]:
    if vectorizer.lowercase and vectorizer.strip_accents is None:
        return str.lower
    preprocess: Callable[[str], str] = vectorizer.build_preprocessor()
    return preprocess


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
    blocks = {"word": _WordBlock, "char_wb": _CharacterBlock}
    if odd or vectorizer.analyzer not in blocks:
        msg = f"the fused scorer does not reproduce {', '.join(odd) or f'analyzer={vectorizer.analyzer!r}'}"
        raise ValueError(msg)
    return blocks[vectorizer.analyzer](vectorizer, weights)
