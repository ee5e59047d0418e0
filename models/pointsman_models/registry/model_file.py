"""The file of a model: numpy's archive of plain arrays, with the names and options as JSON in one of them.

A pickle, reading which runs any code in it, is refused under any file name. Nothing in the file depends on the version
of scikit-learn, and reading it imports no scikit-learn.
"""

import json
import zipfile
from collections.abc import Sequence
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pointsman_models.inference.linear_model import Block, Grams, LinearModel
from pointsman_shared import errors

FORMAT: Final = 1
_BLOCK: Final = ("terms", "idf", "weights")


def write(model: LinearModel) -> bytes:
    """Return the content of a model's file; equal models have equal files."""
    described = {
        "format": FORMAT,
        "classes": model.classes,
        "blocks": [block.grams.model_dump(mode="json") for block in model.blocks],
    }
    arrays: dict[str, NDArray[Any]] = {
        "description": _bytes(json.dumps(described)),
        "intercept": model.intercept,
    }
    for number, block in enumerate(model.blocks):
        parts: tuple[NDArray[Any], ...] = (_bytes(json.dumps(block.terms)), block.idf, block.weights)
        arrays |= {f"{number}.{name}": part for name, part in zip(_BLOCK, parts, strict=True)}
    file = BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def read(content: bytes, *, classes: Sequence[str]) -> LinearModel:
    """Read a model's file.

    Args:
        content: The file's bytes, already compared with their digest.
        classes: The classes it must have.

    Raises:
        RegistryError: It is not such a file, or is not the model of the card.
    """
    if not zipfile.is_zipfile(BytesIO(content)):
        msg = "the model is not a file that Pointsman wrote (a pickle is never loaded): train the tier again"
        raise errors.RegistryError(msg)
    try:
        model = _read(content)
    except Exception as error:  # a foreign archive raises KeyError, ValueError, BadZipFile and others
        msg = f"the model cannot be read ({type(error).__name__}): train the tier again"
        raise errors.RegistryError(msg) from error
    if list(model.classes) != list(classes):
        msg = "the model's classes are not those of its card: train the tier again"
        raise errors.RegistryError(msg)
    return model


def _read(content: bytes) -> LinearModel:
    with np.load(BytesIO(content), allow_pickle=False) as arrays:
        described = json.loads(arrays["description"].tobytes())
        if described["format"] != FORMAT:
            msg = f"its format is {described['format']}"
            raise ValueError(msg)
        blocks = []
        for number, options in enumerate(described["blocks"]):
            terms, idf, weights = (arrays[f"{number}.{name}"] for name in _BLOCK)
            known = tuple(json.loads(terms.tobytes()))
            blocks.append(Block(grams=Grams(**options), terms=known, idf=idf, weights=weights))
        return LinearModel(
            classes=tuple(described["classes"]), intercept=arrays["intercept"], blocks=tuple(blocks)
        )


def _bytes(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), dtype=np.uint8)
