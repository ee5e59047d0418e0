"""Small real models: a few dozen utterances, a real scikit-learn pipeline, fitted in milliseconds."""

from collections.abc import Mapping, Sequence
from typing import Final

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.svm import LinearSVC

from pointsman_models.inference.classifier import Classifier
from pointsman_models.training import linear_models
from pointsman_shared import names

UTTERANCES: Final[Mapping[str, Sequence[str]]] = {
    "greeting": ("hi", "hello there", "hey hey", "good morning team", "hiya 👋", "hello, anyone about?"),
    "goodbye": ("bye", "see you later", "ok bye now", "take care then", "good night, bye", "later!"),
    "business_hours": (
        "when do you open",
        "opening hours?",
        "are you open on sunday",
        "closing time pls",
        "hours today",
    ),
    "payment_methods": (
        "can i pay by card",
        "do you take paypal",
        "google pay ok?",
        "is cash fine",
        "pay with visa",
    ),
    names.OUT_OF_SCOPE: ("my parcel is late", "reset my password", "how tall is everest", "size 42 please"),
}
BASE_INTENTS: Final = ("business_hours", "goodbye", "greeting")
PRO_INTENTS: Final = (*BASE_INTENTS, "payment_methods")


def word_features(*, sublinear: bool = False) -> TfidfVectorizer:
    """Make unfitted word n-grams."""
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=sublinear)


def union_features(*, sublinear: bool = False) -> FeatureUnion:
    """Make unfitted word and character n-grams."""
    characters = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=sublinear, strip_accents="unicode"
    )
    return FeatureUnion([("words", word_features(sublinear=sublinear)), ("characters", characters)])


def fitted(
    intents: Sequence[str],
    *,
    features: TfidfVectorizer | FeatureUnion | None = None,
    classifier: LinearSVC | LogisticRegression | None = None,
) -> Pipeline:
    """Fit a pipeline on the utterances of some intents; with `out_of_scope` among them, on all the others too."""
    known = [intent for intent in UTTERANCES if intent in intents or names.OUT_OF_SCOPE in intents]
    labels = {intent: intent if intent in intents else names.OUT_OF_SCOPE for intent in known}
    rows = [(text, labels[intent]) for intent in known for text in UTTERANCES[intent]]
    pipeline = Pipeline(
        [("features", features or union_features()), ("classifier", classifier or LinearSVC())]
    )
    return pipeline.fit([text for text, _ in rows], [intent for _, intent in rows])


def make_classifier(
    tier: str = "base", version: int = 1, intents: Sequence[str] = BASE_INTENTS, threshold: float = 0.3
) -> Classifier:
    """Make a classifier that also learnt what is out of scope."""
    return Classifier(
        linear_models.from_pipeline(fitted((*intents, names.OUT_OF_SCOPE))),
        tier=tier,
        version=version,
        temperature=3.0,
        threshold=threshold,
    )
