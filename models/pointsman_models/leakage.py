"""Test rows that are all but in the training data: they say how well a model remembers, not how well it reads.

Exact copies never get this far: the split goes by the normalised text.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer

from pointsman_models import dataset

# Jaccard similarity of two texts' character trigrams; one changed letter in twenty gives about 0.75.
NEAR = 0.8


def near_copies(test: Sequence[str], train: Sequence[str]) -> NDArray[np.bool_]:
    """Say which test texts have a near copy among the training texts.

    Args:
        test: Texts to look at.
        train: Texts that were learnt.
    """
    if not test or not train:
        return np.zeros(len(test), dtype=np.bool_)
    counter = CountVectorizer(analyzer="char_wb", ngram_range=(3, 3), binary=True, dtype=np.float32)
    known = counter.fit_transform([dataset.normalise(text) for text in train])
    asked = counter.transform([dataset.normalise(text) for text in test])
    shared = (asked @ known.T).tocoo()
    # A trigram that no training text has counts into the union as well.
    trigrams = counter.build_analyzer()
    sizes = np.array([len(set(trigrams(dataset.normalise(text)))) for text in test])
    union = sizes[shared.row] + np.asarray(known.sum(axis=1)).ravel()[shared.col] - shared.data
    found = np.zeros(len(test), dtype=np.bool_)
    found[shared.row[shared.data >= NEAR * union]] = True
    return found
