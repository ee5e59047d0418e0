"""A version's card: what it is, what it was made from, how good it is, and how to see that it is still the same."""

import hashlib
import platform
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy
import sklearn
import skops
from pydantic import BaseModel, ConfigDict

from pointsman_models.data.dataset import FileFacts
from pointsman_models.inference.classifier import Classifier
from pointsman_models.training.evaluation import IntentFigures
from pointsman_shared import errors

SELF_TEST_TOLERANCE = 0.001


class _Stored(BaseModel):
    # A newer Pointsman may add fields; an older one reads past them.
    model_config = ConfigDict(extra="ignore", frozen=True)


class FileDigest(_Stored):
    """How to recognise a file of the version."""

    sha256: str
    size: int


class SelfTest(_Stored):
    """A text and what the version answered to it when it was trained."""

    text: str
    intent: str
    confidence: float


class Card(_Stored):
    """Everything about a version but the model itself."""

    tier: str
    version: int = 0
    """Its number; 0 until it is saved."""
    created_at: str
    """ISO 8601, UTC."""
    requested_by: str
    duration_s: float
    pipeline: str
    """The chosen pipeline in one line."""
    parameters: dict[str, Any]
    """The same, as fields."""
    intents: tuple[str, ...]
    """The in-scope intents, in the order of `classes`."""
    classes: tuple[str, ...]
    """The classes of the fitted classifier, in its order; `out_of_scope` may be one of them."""
    temperature: float
    threshold: float
    metrics: dict[str, float]
    """Figures on the test part: see `evaluation.evaluate`."""
    per_intent: dict[str, IntentFigures]
    data: tuple[FileFacts, ...]
    examples: dict[str, int]
    """How many different examples each part holds."""
    seed: int
    libraries: dict[str, str]
    warnings: tuple[str, ...] = ()
    self_test: tuple[SelfTest, ...] = ()
    files: dict[str, FileDigest] = {}
    """Filled in when it is saved."""


def library_versions() -> dict[str, str]:
    """Give the versions that a fitted model depends on."""
    return {
        "python": platform.python_version(),
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "skops": skops.__version__,
    }


def digest(content: bytes) -> FileDigest:
    """Work out how to recognise a file again."""
    return FileDigest(sha256=hashlib.sha256(content).hexdigest(), size=len(content))


def check_digest(content: bytes, name: str, expected: FileDigest | None) -> None:
    """Compare a file with what its card says of it.

    Raises:
        RegistryError: It is another one, or the card does not mention it.
    """
    if expected is None:
        msg = f"the card does not name {name}: train the tier again or promote another version"
        raise errors.RegistryError(msg)
    if len(content) != expected.size:
        msg = f"{name} has {len(content)} bytes in the place of {expected.size}: restore it, or train the tier again"
        raise errors.RegistryError(msg)
    if digest(content) != expected:
        msg = f"{name} was changed after it was saved (its SHA-256 differs): restore it, or train the tier again"
        raise errors.RegistryError(msg)


def check_libraries(trained_with: Mapping[str, str]) -> None:
    """Refuse a version of another scikit-learn: its fitted attributes may mean something else.

    Raises:
        RegistryError: The major or minor version differs.
    """
    then, now = trained_with.get("scikit-learn", "unknown"), sklearn.__version__
    if then.split(".")[:2] != now.split(".")[:2]:
        msg = f"was trained with scikit-learn {then}, but here is {now}: train the tier again, or install {then}"
        raise errors.RegistryError(msg)


def check_self_test(card: Card, classifier: Classifier) -> None:
    """Ask the version what it was asked when it was trained.

    Raises:
        RegistryError: An answer differs.
    """
    found = classifier.classify([test.text for test in card.self_test])
    for test, intent, confidence in zip(card.self_test, found.intent, found.confidence, strict=True):
        if intent != test.intent or abs(confidence - test.confidence) > SELF_TEST_TOLERANCE:
            msg = (
                f"answers {test.text!r} with {intent} ({confidence:.3f}), but when it was trained with "
                f"{test.intent} ({test.confidence:.3f}): train the tier again"
            )
            raise errors.RegistryError(msg)
