"""The file of a fitted pipeline, in the skops format: it names types, and only known types are built.

Reading a pickle runs any code in it; so a pickle is refused under any file name.
"""

import zipfile
from collections.abc import Sequence
from io import BytesIO
from typing import Any, Final

import skops.io
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.svm import LinearSVC

from pointsman_shared import errors

# The types that may be built beyond those of scikit-learn and numpy. Our pipelines need none.
TRUSTED: Final[frozenset[str]] = frozenset()
COMPRESSION_LEVEL: Final = 6


def write(pipeline: Pipeline) -> bytes:
    """Return the content of a pipeline's file."""
    content: bytes = skops.io.dumps(
        pipeline, compression=zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION_LEVEL
    )
    return content


def read(content: bytes, *, classes: Sequence[str]) -> Pipeline:
    """Build the pipeline of a file.

    Args:
        content: The file's bytes, already compared with their digest.
        classes: The classes it must have.

    Raises:
        RegistryError: It is not such a file, needs a type outside the allow-list, or is not the pipeline of the card.
    """
    if not zipfile.is_zipfile(BytesIO(content)):
        msg = "the model is not a skops file (a pickle is never loaded): train the tier again"
        raise errors.RegistryError(msg)
    pipeline = _load(content)
    if not _has_our_shape(pipeline):
        msg = "the model is not one of the pipelines Pointsman trains: train the tier again"
        raise errors.RegistryError(msg)
    if list(pipeline.classes_) != list(classes):
        msg = "the model's classes are not those of its card: train the tier again"
        raise errors.RegistryError(msg)
    return pipeline


def _load(content: bytes) -> Any:  # noqa: ANN401 - a file may hold any object; its shape is checked next
    try:
        unknown = sorted(set(skops.io.get_untrusted_types(data=content)) - TRUSTED)
        loaded = None if unknown else skops.io.loads(content, trusted=sorted(TRUSTED))
    except Exception as error:  # a malformed schema raises KeyError, TypeError and others
        msg = f"the model cannot be read ({type(error).__name__}): train the tier again"
        raise errors.RegistryError(msg) from error
    if unknown:
        msg = f"the model needs types that are not allowed ({', '.join(unknown)}): do not use it, train the tier again"
        raise errors.RegistryError(msg)
    return loaded


def _has_our_shape(pipeline: Any) -> bool:  # noqa: ANN401 - a loaded object may be anything
    if type(pipeline) is not Pipeline or [name for name, _ in pipeline.steps] != ["features", "classifier"]:
        return False
    features, classifier = pipeline.named_steps["features"], pipeline.named_steps["classifier"]
    blocks = [step for _, step in features.transformer_list] if type(features) is FeatureUnion else [features]
    return type(classifier) in {LinearSVC, LogisticRegression} and all(
        type(block) is TfidfVectorizer for block in blocks
    )
