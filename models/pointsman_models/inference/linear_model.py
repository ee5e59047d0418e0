"""A linear model over tf-idf n-grams, as plain data: what a scorer needs of a fitted scikit-learn pipeline.

A worker that serves a model imports no scikit-learn.
"""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

Floats = NDArray[np.float64]


class Grams(BaseModel):
    """Which n-grams are made of a text; the options of a TfidfVectorizer."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    analyzer: Literal["word", "char_wb"]
    shortest: int = Field(ge=1)
    """The fewest words or characters of an n-gram."""
    longest: int
    shortest_word: int = Field(ge=1, le=2)
    """Words of fewer letters are left out before word n-grams are made."""
    lowercase: bool
    strips_accents: bool
    sublinear: bool
    """Whether a count `n` is weighed as `1 + ln(n)`."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.longest < self.shortest:
            msg = "longest is below shortest"
            raise ValueError(msg)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The n-grams of one kind that a model knows, with their weights.

    Attributes:
        grams: How they are made.
        terms: The n-grams; the words of one are separated by a space.
        idf: The inverse document frequency of each; shape (terms,).
        weights: The classifier's; shape (terms, columns).
    """

    grams: Grams
    terms: tuple[str, ...]
    idf: Floats
    weights: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearModel:
    """A fitted model: `score = sum over blocks of (tf-idf / norm) @ weights, plus intercept`.

    Attributes:
        classes: The classes, in the order of the columns; two classes share one column.
        intercept: Shape (columns,).
        blocks: At least one.

    Raises:
        ValueError: The shapes do not belong together, or a number is not finite.
    """

    classes: tuple[str, ...]
    intercept: Floats
    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        columns = len(self.classes) if len(self.classes) > 2 else 1  # noqa: PLR2004  see `classes`
        shapes = [self.intercept.shape == (columns,)]
        for block in self.blocks:
            terms = len(block.terms)
            shapes += [block.idf.shape == (terms,), block.weights.shape == (terms, columns)]
        if len(self.classes) < 2 or not self.blocks or not all(shapes):  # noqa: PLR2004
            msg = "the arrays of a model do not belong together"
            raise ValueError(msg)
        arrays = [self.intercept, *(array for block in self.blocks for array in (block.idf, block.weights))]
        if not all(np.isfinite(array).all() for array in arrays):
            msg = "a number of a model is not finite"
            raise ValueError(msg)
