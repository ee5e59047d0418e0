import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from pointsman_models.registry.card import IntentFigures
from pointsman_models.training import evaluation
from pointsman_shared import names

OOS = names.OUT_OF_SCOPE
LABELS = np.array(["a", "a", "b", "b", OOS, OOS])
ANSWERS = evaluation.Answers(
    intent=np.array(["a", "b", "b", "b", "a", "b"]), confidence=np.array([0.9, 0.6, 0.8, 0.3, 0.7, 0.2])
)


def test_the_likeliest_intent_is_answered_or_out_of_scope_below_the_threshold() -> None:
    answers = evaluation.answer(np.array([[0.7, 0.2], [0.1, 0.4], [0.1, 0.39]]), ("a", "b"))
    assert answers.intent.tolist() == ["a", "b", "b"]
    assert answers.at(0.4).tolist() == ["a", "b", OOS]


def test_the_figures_are_those_worked_out_by_hand() -> None:
    found = evaluation.evaluate(ANSWERS, LABELS, threshold=0.5)
    # In scope: a is found once of twice, b always and once too often: F1 = 2/3 and 4/5.
    assert found.metrics["macro_f1"] == 0.7333
    assert found.metrics["accuracy"] == 0.75
    # At 0.5 the last b is missed: F1 = 2/3 and 1/2.
    assert found.metrics["macro_f1_at_threshold"] == 0.5833
    assert found.metrics["accuracy_at_threshold"] == 0.5
    assert found.metrics["out_of_scope_recall"] == 0.5
    assert found.metrics["accuracy_with_out_of_scope"] == 0.5
    assert (found.metrics["test_in_scope"], found.metrics["test_out_of_scope"]) == (4.0, 2.0)
    assert found.per_intent["a"] == IntentFigures(precision=0.5, recall=0.5, f1=0.5, support=2)
    assert found.per_intent[OOS].recall == 0.5


def test_an_answer_below_the_threshold_is_missed_in_scope_and_right_out_of_scope() -> None:
    found = evaluation.evaluate(ANSWERS, LABELS, threshold=0.85)
    assert found.metrics["accuracy_at_threshold"] == 0.25
    assert found.metrics["out_of_scope_recall"] == 1.0
    assert found.metrics["accuracy_with_out_of_scope"] == 0.5


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=30),
    st.lists(st.integers(0, 20), min_size=1, max_size=30),
)
def test_the_auroc_is_the_mann_whitney_statistic(inside: list[int], outside: list[int]) -> None:
    confidence = np.array([*inside, *outside]) / 20
    in_scope = np.array([True] * len(inside) + [False] * len(outside))
    expected = mannwhitneyu(inside, outside).statistic / (len(inside) * len(outside))
    assert evaluation.auroc(confidence, in_scope) == pytest.approx(expected)


def test_the_calibration_error_is_the_weighted_gap_per_bin() -> None:
    # Two bins of 15: (0.6, 0.667] holds three texts of which one is right, (0.933, 1] one right text.
    confidence = np.array([0.65, 0.65, 0.65, 1.0])
    right = np.array([True, False, False, True])
    expected = 3 / 4 * abs(1 / 3 - 0.65) + 1 / 4 * 0.0
    assert evaluation.expected_calibration_error(confidence, right) == pytest.approx(expected)


def test_confidences_that_mean_what_they_say_have_no_calibration_error() -> None:
    generator = np.random.default_rng(7)
    confidence = generator.uniform(size=200_000)
    right = generator.uniform(size=200_000) < confidence
    assert evaluation.expected_calibration_error(confidence, right) < 0.01


def test_without_texts_there_is_no_calibration_error() -> None:
    assert evaluation.expected_calibration_error(np.array([]), np.array([], dtype=bool)) == 0.0


def test_models_are_chosen_by_macro_f1_and_auroc_alike() -> None:
    in_scope = LABELS != OOS
    expected = (
        evaluation.macro_f1(LABELS[in_scope], ANSWERS.intent[in_scope])
        + evaluation.auroc(ANSWERS.confidence, in_scope)
    ) / 2
    assert evaluation.selection_score(ANSWERS, LABELS) == pytest.approx(expected)


def test_figures_without_texts_are_left_out() -> None:
    only_in_scope = evaluation.evaluate(ANSWERS, np.array(["a", "b", "b", "b", "a", "a"]), threshold=0.0)
    assert "macro_f1" in only_in_scope.metrics
    assert "out_of_scope_auroc" not in only_in_scope.metrics
    nothing = evaluation.Answers(intent=np.array([], dtype=np.str_), confidence=np.array([]))
    assert evaluation.evaluate(nothing, np.array([], dtype=np.str_), threshold=0.5).metrics == {
        "test_in_scope": 0.0,
        "test_out_of_scope": 0.0,
    }
