"""Near copies: test rows that nearly equal a training row measure how well a model remembers, not how well it reads.

Exact copies do not occur, because the split depends on the normalised text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from sklearn.feature_extraction.text import CountVectorizer

from pointsman_models.data import dataset, splits

# Jaccard similarity of two texts' character trigrams; one changed letter in twenty gives about 0.75.
NEAR = 0.8
# How many pairs are looked at, and how many compared, at a time: some hundred MiB.
LOOKED_AT, COMPARED = 100_000_000, 200_000
# How many rare trigrams two texts must share before they are compared.
RARE = 3


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
    """Return for each test text the place of its nearest copy among the training texts, or -1 if there is none.

    Of two sets that are `NEAR`, the rarest trigrams share `RARE`: of each set as many as it may lack, and `RARE` more
    (prefix filter: Chaudhuri, Ganti and Kaushik, 2006; Wang, Li and Feng, 2012). So only texts that share rare trigrams
    are compared, a block of test texts at a time; memory does not grow with the product of both numbers.
    """
    found = np.full(len(test), -1, dtype=np.intp)
    if not test or not train:
        return found
    counter = CountVectorizer(analyzer="char_wb", ngram_range=(3, 3), binary=True, dtype=np.int32)
    known = counter.fit_transform(map(splits.normalise, train))
    # Columns in rising frequency, so that the first ones of a row are its rarest.
    order = np.argsort(np.asarray(known.sum(axis=0)).ravel(), kind="stable")
    known = known[:, order].sorted_indices()
    asked = counter.transform(map(splits.normalise, test))[:, order].sorted_indices()
    trigrams = counter.build_analyzer()
    # The size counts the trigrams that no training text has, too; they are the rarest.
    sizes = np.array([len(set(trigrams(splits.normalise(text)))) for text in test])
    rare = _rarest(known, _prefixes(known.getnnz(axis=1))).T.tocsc()
    rare_asked = _rarest(asked, _prefixes(sizes) - (sizes - asked.getnnz(axis=1)))
    block = max(1, LOOKED_AT // len(train))
    for start in range(0, len(test), block):
        part = slice(start, start + block)
        found[part] = _nearest(asked[part], sizes[part], known, (rare_asked[part] @ rare).tocoo())
    return found


def _prefixes(sizes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return how many of its rarest trigrams a set of each size has to be looked up by."""
    return np.asarray(sizes - np.ceil(NEAR * sizes).astype(np.intp) + RARE)


def _rarest(rows: csr_matrix, counts: NDArray[np.intp]) -> csr_matrix:
    """Keep the first columns of each row, as many as its count says."""
    places = np.arange(rows.nnz) - np.repeat(rows.indptr[:-1], np.diff(rows.indptr))
    kept = places < np.repeat(counts, np.diff(rows.indptr))
    starts = np.concatenate([[0], np.cumsum(kept)])[rows.indptr]
    return csr_matrix((rows.data[kept], rows.indices[kept], starts), shape=rows.shape)


def _nearest(
    asked: csr_matrix, sizes: NDArray[np.intp], known: csr_matrix, pairs: coo_matrix
) -> NDArray[np.intp]:
    """Compare candidate pairs, and return the nearest copy of each row, or -1."""
    found = np.full(asked.shape[0], -1, dtype=np.intp)
    lengths = known.getnnz(axis=1)[pairs.col]
    smaller, larger = np.minimum(sizes[pairs.row], lengths), np.maximum(sizes[pairs.row], lengths)
    # Sets of too different sizes, or with too few rare trigrams in common, cannot be near.
    fits = (smaller >= NEAR * larger) & (pairs.data >= np.minimum(RARE, np.ceil(NEAR * larger)))
    row, col, lengths = pairs.row[fits], pairs.col[fits], lengths[fits]
    shared = np.concatenate(
        [
            np.asarray(
                asked[row[at : at + COMPARED]].multiply(known[col[at : at + COMPARED]]).sum(axis=1)
            ).ravel()
            for at in range(0, len(row), COMPARED)
        ]
        or [np.empty(0)]
    )
    similarity = shared / (sizes[row] + lengths - shared)
    near = np.flatnonzero(similarity >= NEAR)
    # The nearest is written last.
    near = near[np.argsort(similarity[near], kind="stable")]
    found[row[near]] = col[near]
    return found
