"""Choose the temperature and the out-of-scope threshold, which turn scores into probabilities and answers.

Both are fitted on scores of texts that the scoring model had not seen (out of fold): on its own training texts a linear
model over n-grams is nearly always right and always certain.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from pointsman_models.inference.scorer import Scores

# log T. Beyond these a softmax over margins of a few units is flat, or all ones and zeros.
LOG_TEMPERATURE_BOUNDS = (-5.0, 5.0)
THRESHOLD_STEPS = 10_000


def columns(decision: Scores) -> Scores:
    """Return one column per class: a binary classifier's single score `d` stands for `(-d, d)`."""
    return np.column_stack([-decision, decision]) if decision.ndim == 1 else decision


def fit_temperature(scores: Scores, places: NDArray[np.intp]) -> float:
    """Fit the temperature T of `softmax(T * scores)` by minimising the log loss.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2 (there T divides). One number
    for all classes: it cannot change which is likeliest.

    Args:
        scores: Shape (texts, classes), out of fold.
        places: The column of each text's right class.
    """
    rows = np.arange(len(places))

    def log_loss(log_temperature: float) -> float:
        return -float(log_softmax(np.exp(log_temperature) * scores, axis=1)[rows, places].mean())

    found = minimize_scalar(log_loss, bounds=LOG_TEMPERATURE_BOUNDS, method="bounded")
    return float(np.exp(found.x))


def choose_threshold(
    confidence: NDArray[np.float64],
    right: NDArray[np.bool_],
    in_scope: NDArray[np.bool_],
    *,
    recall_floor: float,
) -> float:
    """Choose the confidence below which the answer is `out_of_scope`.

    The threshold maximises the mean of two shares: the in-scope texts that are answered correctly at or above it, and
    the out-of-scope texts below it. It keeps at least `recall_floor` of the correctly recognised in-scope texts. Of
    equal thresholds the lowest is chosen. Without out-of-scope texts the threshold is 0.

    Args:
        confidence: The probability of the likeliest intent, per text.
        right: Whether that intent is the text's label.
        in_scope: Whether the text has an in-scope label.
        recall_floor: In [0, 1].

    Returns:
        In [0, 1), a multiple of 0.0001.
    """
    recognised = np.sort(confidence[right & in_scope])
    strangers = np.sort(confidence[~in_scope])
    if not len(recognised) or not len(strangers):
        return 0.0
    thresholds = np.arange(THRESHOLD_STEPS) / THRESHOLD_STEPS
    kept = len(recognised) - np.searchsorted(recognised, thresholds, side="left")
    refused = np.searchsorted(strangers, thresholds, side="left")
    balance = (kept / np.count_nonzero(in_scope) + refused / len(strangers)) / 2
    balance[kept < recall_floor * len(recognised)] = -1.0
    return float(thresholds[int(np.argmax(balance))])
