"""How good a model is: on texts of its intents, and at keeping out texts of none of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, precision_recall_fscore_support, roc_auc_score

from pointsman_models.inference.scorer import Scores
from pointsman_shared import names

ECE_BINS = 15
DECIMALS = 4
Labels = NDArray[np.str_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The likeliest in-scope intent of each text and its probability."""

    intent: Labels
    confidence: NDArray[np.float64]

    def at(self, threshold: float) -> Labels:
        """Give the answers with `out_of_scope` where the confidence is below the threshold."""
        return np.where(self.confidence >= threshold, self.intent, names.OUT_OF_SCOPE)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentFigures:
    """Precision, recall and F1 of one label at the threshold, out-of-scope texts included."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The figures of a model on texts it has not seen."""

    metrics: dict[str, float]
    per_intent: dict[str, IntentFigures]


def answer(probabilities: Scores, intents: Sequence[str]) -> Answers:
    """Take the likeliest intent of each row.

    Args:
        probabilities: Shape (texts, intents).
        intents: The columns' names, in scope only.
    """
    best = probabilities.argmax(axis=1)
    return Answers(intent=np.array(intents)[best], confidence=probabilities[np.arange(len(best)), best])


def selection_score(answers: Answers, labels: Labels) -> float:
    """Give the one number by which models are chosen: the higher the better, in [0, 1].

    The mean of macro-F1 over the in-scope texts, without a threshold, and of the AUROC with which confidence tells
    in-scope from out-of-scope texts; macro-F1 alone where there are no out-of-scope texts. Both are free of the
    threshold, which is chosen afterwards, for the chosen model only.
    """
    in_scope = labels != names.OUT_OF_SCOPE
    parts = [macro_f1(labels[in_scope], answers.intent[in_scope])]
    if in_scope.any() and not in_scope.all():
        parts.append(auroc(answers.confidence, in_scope))
    return sum(parts) / len(parts)


def macro_f1(labels: Labels, predicted: Labels) -> float:
    """Give the unweighted mean of F1 over the labels that occur."""
    if not len(labels):
        return 0.0
    known = np.unique(labels)
    return float(f1_score(labels, predicted, labels=known, average="macro", zero_division=0))


def auroc(confidence: NDArray[np.float64], in_scope: NDArray[np.bool_]) -> float:
    """Give the chance that an in-scope text has a higher confidence than an out-of-scope one."""
    return float(roc_auc_score(in_scope, confidence))


def expected_calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Give the mean gap between confidence and accuracy over 15 bins of equal width, weighted by their texts.

    Naeini, Cooper, Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015.
    """
    if not len(confidence):
        return 0.0
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(int) - 1, 0, ECE_BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def evaluate(answers: Answers, labels: Labels, *, threshold: float) -> Evaluation:
    """Work out all figures of a model from its answers to texts it has not seen.

    The metrics: `macro_f1` and `accuracy` are of the in-scope texts without a threshold; `..._at_threshold` count an
    in-scope text below the threshold as missed; `..._with_out_of_scope` are of all texts at the threshold,
    `out_of_scope` a label like the others. `ece` is of all texts: confidence is the probability that a text has this
    intent, and an out-of-scope text has none. `ece_in_scope` leaves those out; where a background class shares the
    probability it is higher, because nobody tells the model beforehand that a text is in scope. A figure that has no
    texts to be worked out from is left out.
    """
    in_scope = labels != names.OUT_OF_SCOPE
    served = answers.at(threshold)
    metrics = {"test_in_scope": float(in_scope.sum()), "test_out_of_scope": float((~in_scope).sum())}
    if in_scope.any():
        metrics |= _of_in_scope(answers, served, labels, in_scope)
    if not in_scope.all():
        metrics["out_of_scope_recall"] = float(np.mean(served[~in_scope] == names.OUT_OF_SCOPE))
    if in_scope.any() and not in_scope.all():
        right = answers.intent == labels
        metrics["ece"] = expected_calibration_error(answers.confidence, right)
        metrics["out_of_scope_auroc"] = auroc(answers.confidence, in_scope)
        metrics["macro_f1_with_out_of_scope"] = macro_f1(labels, served)
        metrics["accuracy_with_out_of_scope"] = float(np.mean(served == labels))
    return Evaluation(
        metrics={name: round(value, DECIMALS) for name, value in metrics.items()},
        per_intent=_per_intent(labels, served),
    )


def _of_in_scope(
    answers: Answers, served: Labels, labels: Labels, in_scope: NDArray[np.bool_]
) -> dict[str, float]:
    right = answers.intent[in_scope] == labels[in_scope]
    return {
        "macro_f1": macro_f1(labels[in_scope], answers.intent[in_scope]),
        "macro_f1_at_threshold": macro_f1(labels[in_scope], served[in_scope]),
        "accuracy": float(right.mean()),
        "accuracy_at_threshold": float(np.mean(served[in_scope] == labels[in_scope])),
        "ece_in_scope": expected_calibration_error(answers.confidence[in_scope], right),
    }


def _per_intent(labels: Labels, served: Labels) -> dict[str, IntentFigures]:
    if not len(labels):
        return {}
    known = np.unique(labels)
    figures = precision_recall_fscore_support(labels, served, labels=known, zero_division=0)
    return {
        str(label): IntentFigures(
            precision=round(float(precision), DECIMALS),
            recall=round(float(recall), DECIMALS),
            f1=round(float(f1), DECIMALS),
            support=int(support),
        )
        for label, precision, recall, f1, support in zip(known, *figures, strict=True)
    }
