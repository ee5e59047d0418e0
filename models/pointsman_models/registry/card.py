"""A version's card: what it is, what it was trained on, how good it is, and how to check that it is unchanged."""

import hashlib
import platform
from importlib.metadata import version
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from pointsman_models.data.dataset import FileFacts
from pointsman_models.inference.classifier import Classifier
from pointsman_shared import errors

SELF_TEST_TOLERANCE: Final = 0.001
_LIBRARIES: Final = ("scikit-learn", "numpy", "scipy")


class _Stored(BaseModel):
    # A newer Pointsman may add fields; an older one ignores them.
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class FileDigest(_Stored):
    """The digest of one of the version's files."""

    sha256: str
    size: int


class SelfTest(_Stored):
    """A text and the version's answer to it after training."""

    text: str
    intent: str
    confidence: float


class IntentFigures(_Stored):
    """Precision, recall and F1 of one label at the threshold, out-of-scope texts included."""

    precision: float
    recall: float
    f1: float
    support: int


class Card(_Stored):
    """Everything about a version except the model itself."""

    tier: str
    version: int = 0
    """The version's number; 0 until it is saved."""
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
    temperature: float = Field(gt=0)
    threshold: float = Field(ge=0, le=1)
    metrics: dict[str, float]
    """Figures on the test part: see `evaluation.evaluate`."""
    per_intent: dict[str, IntentFigures]
    data: tuple[FileFacts, ...]
    examples: dict[str, int]
    """The number of distinct examples in each part."""
    seed: int
    libraries: dict[str, str]
    warnings: tuple[str, ...] = ()
    self_test: tuple[SelfTest, ...] = ()
    files: dict[str, FileDigest] = {}
    """Filled in when the version is saved."""


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that fit a model."""
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}


def digest(content: bytes) -> FileDigest:
    """Compute the digest of a file."""
    return FileDigest(sha256=hashlib.sha256(content).hexdigest(), size=len(content))


def check_digest(content: bytes, name: str, expected: FileDigest | None) -> None:
    """Compare a file with the digest on the card.

    Raises:
        RegistryError: The digests differ, or the card does not name the file.
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


def check_self_test(card: Card, classifier: Classifier) -> None:
    """Repeat the self-test of the version.

    Raises:
        RegistryError: An answer differs.
    """
    found = classifier.classify([test.text for test in card.self_test])
    for test, intent, confidence in zip(card.self_test, found.intent, found.confidence, strict=True):
        if intent != test.intent or abs(confidence - test.confidence) > SELF_TEST_TOLERANCE:
            msg = (
                f"answers {test.text!r} with {intent} ({confidence:.3f}); after training it answered "
                f"{test.intent} ({test.confidence:.3f}): train the tier again"
            )
            raise errors.RegistryError(msg)
