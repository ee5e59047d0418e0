"""Near copies: test rows that nearly equal a training row measure how well a model remembers, not how well it reads.

Exact copies do not occur, because the split depends on the normalised text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer

from pointsman_models.data import dataset, splits

# Jaccard similarity of two texts' character trigrams; one changed letter in twenty gives about 0.75.
NEAR = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaks:
    """Which test rows have near copies in training."""

    near: NDArray[np.bool_]
    """Whether each row of the test part has one."""
    warnings: tuple[str, ...]
    """The same in words, with places."""


def look(data: dataset.Dataset) -> Leaks:
    """Find the test rows with near copies among the rows that are learnt, and the pairs with two labels."""
    tested = [splits.part_of(row.text, row.conversation) == "test" for row in data.examples]
    test = list(compress(data.examples, tested))
    learnt = [row for row, is_test in zip(data.examples, tested, strict=True) if not is_test]
    copies = nearest_copies([row.text for row in test], [row.text for row in learnt])
    pairs = [(row, learnt[place]) for row, place in zip(test, copies.tolist(), strict=True) if place >= 0]
    contrary = [(row, copy) for row, copy in pairs if row.intent != copy.intent]
    found = {
        f"{len(pairs)} of {len(test)} test rows have near copies in training and judge nothing": pairs,
        f"{len(contrary)} of them are labelled otherwise there; one of each two may be wrong": contrary,
    }
    return Leaks(
        near=copies >= 0,
        warnings=tuple(
            f"{what}: {dataset.listed([f'{row.place} (like {copy.place})' for row, copy in rows])}"
            for what, rows in found.items()
            if rows
        ),
    )


def nearest_copies(test: Sequence[str], train: Sequence[str]) -> NDArray[np.intp]:
    """Return for each test text the place of its nearest copy among the training texts, or -1 if there is none."""
    found = np.full(len(test), -1, dtype=np.intp)
    if not test or not train:
        return found
    counter = CountVectorizer(analyzer="char_wb", ngram_range=(3, 3), binary=True, dtype=np.float32)
    known = counter.fit_transform([splits.normalise(text) for text in train])
    asked = counter.transform([splits.normalise(text) for text in test])
    shared = (asked @ known.T).tocoo()
    # The union counts the trigrams that no training text has, too.
    trigrams = counter.build_analyzer()
    sizes = np.array([len(set(trigrams(splits.normalise(text)))) for text in test])
    union = sizes[shared.row] + np.asarray(known.sum(axis=1)).ravel()[shared.col] - shared.data
    similarity = shared.data / union
    near = np.flatnonzero(similarity >= NEAR)
    # The nearest is written last.
    near = near[np.argsort(similarity[near], kind="stable")]
    found[shared.row[near]] = shared.col[near]
    return found
