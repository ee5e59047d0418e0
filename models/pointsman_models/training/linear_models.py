"""From a fitted scikit-learn pipeline to the model that is kept and served, and back."""

from typing import Any, Final

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.svm import LinearSVC

from pointsman_models.inference.linear_model import Block, Floats, Grams, LinearModel

# The token patterns that are known, and the letters of the shortest word that each takes.
_PATTERNS: Final = {1: r"(?u)\b\w+\b", 2: r"(?u)\b\w\w+\b"}
# What the scorer does not reproduce if it is anything else.
_FIXED: Final[dict[str, Any]] = {
    "input": "content",
    "decode_error": "strict",
    "preprocessor": None,
    "tokenizer": None,
    "stop_words": None,
    "norm": "l2",
    "binary": False,
}


def from_pipeline(pipeline: Pipeline) -> LinearModel:
    """Take the vocabulary, idf and weights out of a fitted pipeline.

    Args:
        pipeline: `features` (a TfidfVectorizer or a FeatureUnion of them) and `classifier` (linear).

    Raises:
        ValueError: The pipeline uses something the scorer does not reproduce.
    """
    features, classifier = pipeline.named_steps["features"], pipeline.named_steps["classifier"]
    vectorizers = [features]
    if isinstance(features, FeatureUnion):
        if features.transformer_weights:
            msg = "the scorer does not reproduce transformer_weights"
            raise ValueError(msg)
        vectorizers = [step for _, step in features.transformer_list]
    weights = np.ascontiguousarray(classifier.coef_.T, dtype=np.float64)
    ends = np.cumsum([len(vectorizer.vocabulary_) for vectorizer in vectorizers])
    return LinearModel(
        classes=tuple(classifier.classes_.tolist()),
        intercept=np.asarray(classifier.intercept_, dtype=np.float64),
        blocks=tuple(map(_block, vectorizers, np.split(weights, ends[:-1]))),
    )


def to_pipeline(model: LinearModel) -> Pipeline:
    """Build a fitted pipeline whose `predict` and `decision_function` are those of a model.

    With it scikit-learn can be asked what a version that is in the registry would answer.
    """
    blocks = [(f"block {number}", _vectorizer(block)) for number, block in enumerate(model.blocks)]
    classifier = LinearSVC()
    classifier.classes_ = np.array(model.classes)
    classifier.coef_ = np.concatenate([block.weights for block in model.blocks]).T
    classifier.intercept_ = model.intercept
    return Pipeline([("features", FeatureUnion(blocks)), ("classifier", classifier)])


def _block(vectorizer: TfidfVectorizer, weights: Floats) -> Block:
    odd = [name for name, value in _FIXED.items() if getattr(vectorizer, name) != value]
    if vectorizer.strip_accents not in {None, "unicode"}:
        odd.append("strip_accents")
    if vectorizer.analyzer not in {"word", "char_wb"}:
        odd.append(f"analyzer={vectorizer.analyzer!r}")
    known = [letters for letters, pattern in _PATTERNS.items() if pattern == vectorizer.token_pattern]
    if not known:
        odd.append("token_pattern")
    if odd:
        msg = f"the scorer does not reproduce {', '.join(odd)}"
        raise ValueError(msg)
    shortest, longest = vectorizer.ngram_range
    return Block(
        grams=Grams(
            analyzer=vectorizer.analyzer,
            shortest=shortest,
            longest=longest,
            shortest_word=known[0],
            lowercase=vectorizer.lowercase,
            strips_accents=vectorizer.strip_accents is not None,
            sublinear=vectorizer.sublinear_tf,
        ),
        terms=tuple(sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)),
        idf=vectorizer.idf_ if vectorizer.use_idf else np.ones(len(weights)),
        weights=weights,
    )


def _vectorizer(block: Block) -> TfidfVectorizer:
    grams = block.grams
    vectorizer = TfidfVectorizer(
        analyzer=grams.analyzer,
        ngram_range=(grams.shortest, grams.longest),
        token_pattern=_PATTERNS[grams.shortest_word],
        lowercase=grams.lowercase,
        strip_accents="unicode" if grams.strips_accents else None,
        sublinear_tf=grams.sublinear,
        vocabulary={term: place for place, term in enumerate(block.terms)},
    )
    vectorizer.idf_ = block.idf
    return vectorizer
