from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from pointsman_models.training import calibration


@pytest.mark.parametrize("truth", [0.3, 1.0, 4.0])
def test_the_temperature_that_made_the_labels_is_found_again(truth: float) -> None:
    generator = np.random.default_rng(3)
    scores = generator.normal(size=(20_000, 4))
    draws = generator.uniform(size=(20_000, 1))
    places = (softmax(truth * scores, axis=1).cumsum(axis=1) < draws).sum(axis=1)
    assert calibration.fit_temperature(scores, places) == pytest.approx(truth, rel=0.1)


def test_perfectly_separated_classes_have_a_finite_temperature() -> None:
    found = calibration.fit_temperature(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([0, 1]))
    assert 10 < found < 200


def test_a_binary_score_stands_for_both_classes() -> None:
    assert calibration.columns(np.array([2.0, -1.0])).tolist() == [[-2.0, 2.0], [1.0, -1.0]]


def test_the_threshold_parts_what_can_be_parted() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.3, 0.2])
    in_scope = np.array([True, True, True, False, False])
    found = calibration.choose_threshold(confidence, in_scope, in_scope, recall_floor=0.9)
    assert found == pytest.approx(0.3001)


def test_no_out_of_scope_texts_mean_no_threshold() -> None:
    everything = np.array([True, True])
    assert calibration.choose_threshold(np.array([0.1, 0.9]), everything, everything, recall_floor=0.9) == 0.0


CASES = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(["right", "wrong", "stranger"])), min_size=1, max_size=40
)


@given(CASES, st.sampled_from([0.0, 0.5, 0.9, 1.0]))
def test_no_allowed_threshold_does_better_and_the_floor_is_kept(
    cases: list[tuple[float, str]], floor: float
) -> None:
    confidence = np.array([share for share, _ in cases])
    right = np.array([kind == "right" for _, kind in cases])
    in_scope = np.array([kind != "stranger" for _, kind in cases])
    chosen = calibration.choose_threshold(confidence, right, in_scope, recall_floor=floor)
    if not right.any() or in_scope.all():
        assert chosen == 0.0
        return

    def balance(threshold: float) -> float:
        kept = np.mean((right & (confidence >= threshold))[in_scope])
        return float(kept + np.mean((confidence < threshold)[~in_scope])) / 2

    def allowed(threshold: float) -> bool:
        return bool(np.sum(right & (confidence >= threshold)) >= floor * np.sum(right))

    others = [round(step / 100, 2) for step in range(100)]
    assert allowed(chosen)
    assert balance(chosen) >= max(balance(other) for other in others if allowed(other)) - 1e-12


@pytest.mark.parametrize("floor", [0.0, 0.75, 1.0])
def test_the_threshold_is_the_best_of_all_that_keep_the_floor(floor: float) -> None:
    # Four in-scope texts are recognised, one is not; of the three others one is surer than most of them.
    confidence = [0.9, 0.6, 0.5, 0.2, 0.95, 0.1, 0.15, 0.55]
    right = [True, True, True, True, False, False, False, False]
    in_scope = [True] * 5 + [False] * 3

    def score(threshold: float) -> Fraction:
        kept = sum(ok and share >= threshold for ok, share in zip(right, confidence, strict=True))
        refused = sum(
            share < threshold for share, known in zip(confidence, in_scope, strict=True) if not known
        )
        return Fraction(kept, 5) + Fraction(refused, 3) if kept >= floor * 4 else Fraction(-1)

    steps = [step / 10_000 for step in range(10_000)]
    expected = max(steps, key=score)
    found = calibration.choose_threshold(
        np.array(confidence), np.array(right), np.array(in_scope), recall_floor=floor
    )
    assert found == expected


def test_a_threshold_that_keeps_exactly_the_floor_is_allowed() -> None:
    confidence, in_scope = np.array([0.3, 0.9, 0.5, 0.5, 0.5]), np.array([True, True, False, False, False])
    found = [
        calibration.choose_threshold(confidence, in_scope, in_scope, recall_floor=floor)
        for floor in (0.5, 0.6)
    ]
    assert found == [0.5001, 0.0]
