"""How good a model is at recognising its intents and at refusing out-of-scope texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, precision_recall_fscore_support, roc_auc_score

from pointsman_models.inference.classifier import Classifier
from pointsman_models.inference.scorer import Scores
from pointsman_models.registry.card import IntentFigures
from pointsman_shared import names
from pointsman_shared.data_files import utterances

ECE_BINS = 15
DECIMALS = 4
Labels = NDArray[np.str_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The likeliest in-scope intent of each text and its probability."""

    intent: Labels
    confidence: NDArray[np.float64]

    def at(self, threshold: float) -> Labels:
        """Return the answers, `out_of_scope` where the confidence is below the threshold."""
        return np.where(self.confidence >= threshold, self.intent, names.OUT_OF_SCOPE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The figures of a model on texts it has not seen."""

    metrics: dict[str, float]
    per_intent: dict[str, IntentFigures]


def answer(probabilities: Scores, intents: Sequence[str]) -> Answers:
    """Return the likeliest intent of each row.

    Args:
        probabilities: Shape (texts, intents).
        intents: The columns' names, in scope only.
    """
    best = probabilities.argmax(axis=1)
    return Answers(intent=np.array(intents)[best], confidence=probabilities[np.arange(len(best)), best])


def ask(classifier: Classifier, texts: Sequence[str]) -> Answers:
    """Return the answers of a model in its serving form, without its threshold."""
    return answer(classifier.probabilities(texts), classifier.intents)


def selection_score(answers: Answers, labels: Labels) -> float:
    """Return the number by which the search chooses, in [0, 1]; higher is better.

    It is the mean of the macro-F1 over the in-scope texts and the AUROC of the confidence, in-scope against
    out-of-scope texts; without out-of-scope texts it is the macro-F1. Neither depends on the threshold, which is
    chosen afterwards, for the chosen model only.
    """
    in_scope = labels != names.OUT_OF_SCOPE
    parts = [macro_f1(labels[in_scope], answers.intent[in_scope])]
    if in_scope.any() and not in_scope.all():
        parts.append(auroc(answers.confidence, in_scope))
    return sum(parts) / len(parts)


def macro_f1(labels: Labels, predicted: Labels) -> float:
    """Return the unweighted mean of F1 over the labels that occur."""
    if not len(labels):
        return 0.0
    known = np.unique(labels)
    return float(f1_score(labels, predicted, labels=known, average="macro", zero_division=0))


def auroc(confidence: NDArray[np.float64], in_scope: NDArray[np.bool_]) -> float:
    """Return the probability that an in-scope text has a higher confidence than an out-of-scope one."""
    return float(roc_auc_score(in_scope, confidence))


def expected_calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Return the mean gap between confidence and accuracy over 15 bins of equal width, weighted by their texts.

    Naeini, Cooper, Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015.
    """
    if not len(confidence):
        return 0.0
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(int) - 1, 0, ECE_BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def evaluate(answers: Answers, labels: Labels, *, threshold: float) -> Evaluation:
    """Compute all figures of a model from its answers to texts it has not seen.

    `macro_f1` and `accuracy` cover the in-scope texts without a threshold; `..._at_threshold` count an in-scope text
    below the threshold as missed; `..._with_out_of_scope` cover all texts at the threshold, with `out_of_scope` as one
    more label. `ece` covers all texts: confidence is the probability that a text has this intent, and an out-of-scope
    text has none. `ece_in_scope` covers the in-scope texts; it is higher if a background class shares the probability,
    because the model does not know that a text is in scope. A figure without texts is left out.
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


def golden_failures(classifier: Classifier, golden: Sequence[utterances.Utterance]) -> list[str]:
    """Describe each golden utterance that a version answers wrongly in its serving form, thresholds included."""
    found = classifier.classify([row.text for row in golden])
    return [
        f"golden utterance {row.text!r} ({row.place}): {intent} ({confidence:.2f}) in the place of {row.intent}"
        for row, intent, confidence in zip(golden, found.intent, found.confidence, strict=True)
        if intent != row.intent
    ]


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
