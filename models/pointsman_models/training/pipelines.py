"""The scikit-learn pipelines that a training tries.

All have one shape: `features` (tf-idf over word and character n-grams) and `classifier` (linear). The fused scorer
reproduces exactly these.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.svm import LinearSVC

from pointsman_models.data import tiers

# One-letter words count: "u", "i" and "r u" carry meaning in chat, but scikit-learn's default drops them.
WORD = r"(?u)\b\w+\b"
MAX_ITERATIONS = 10_000
# Ten times looser than scikit-learn's default: half the time, and no measurable difference in macro-F1.
TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to build a model."""

    features: tiers.FeatureOptions
    kind: str
    c: float
    background: bool
    """Whether it learns `out_of_scope` as a class."""

    def describe(self) -> str:
        """Describe it in one line."""
        sizes = {"words": self.features.words, "characters": self.features.characters}
        grams = " + ".join(f"{name} {size[0]}-{size[1]}" for name, size in sizes.items() if size)
        weight = ", sublinear tf" if self.features.sublinear else ""
        background = ", out-of-scope class" if self.background else ""
        return f"{grams}{weight}; {self.kind} C={self.c:g}{background}"


def candidates(
    search: tiers.SearchSpace, features: tiers.FeatureOptions, *, background: bool
) -> Iterator[Candidate]:
    """Return the candidates that share their features and classes."""
    for options in search.classifiers:
        for strength in options.c:
            yield Candidate(features=features, kind=options.kind, c=strength, background=background)


def make(candidate: Candidate, *, seed: int) -> Pipeline:
    """Build a candidate's unfitted pipeline."""
    return Pipeline(
        [
            ("features", make_features(candidate.features)),
            ("classifier", make_classifier(candidate, seed=seed)),
        ]
    )


def make_features(options: tiers.FeatureOptions) -> TfidfVectorizer | FeatureUnion:
    """Build unfitted features."""
    blocks: list[tuple[str, TfidfVectorizer]] = []
    if options.words:
        words = TfidfVectorizer(ngram_range=options.words, token_pattern=WORD, sublinear_tf=options.sublinear)
        blocks.append(("words", words))
    if options.characters:
        characters = TfidfVectorizer(
            analyzer="char_wb", ngram_range=options.characters, sublinear_tf=options.sublinear
        )
        blocks.append(("characters", characters))
    return FeatureUnion(blocks) if len(blocks) > 1 else blocks[0][1]


def make_classifier(candidate: Candidate, *, seed: int) -> LinearSVC | LogisticRegression:
    """Build an unfitted classifier."""
    if candidate.kind == "LinearSVC":
        return LinearSVC(C=candidate.c, random_state=seed, max_iter=MAX_ITERATIONS)
    return LogisticRegression(C=candidate.c, random_state=seed, max_iter=MAX_ITERATIONS, tol=TOLERANCE)
