"""The bound of the paired bootstrap, against scikit-learn and against the rate it states."""

import numpy as np
import pytest
from scipy.stats import multinomial
from sklearn.metrics import f1_score

from pointsman_models.promotion import bootstrap
from pointsman_models.training.evaluation import Labels

INTENTS = np.array(["bye", "hello", "hours", "pay"])


def answers(
    rows: int, *, gained: float, lost: float, seed: int, right: float = 0.9
) -> tuple[Labels, Labels, Labels]:
    """Draw labels and two classifiers' answers; the new one wins and loses those shares of the rows."""
    random = np.random.default_rng(seed)
    labels = random.choice(INTENTS, rows)
    wrong = INTENTS[(np.searchsorted(INTENTS, labels) + random.integers(1, 4, rows)) % 4]
    place = random.random(rows)
    old = np.where(place < right, labels, wrong)
    new = np.where((place < right - lost) | ((place >= right) & (place < right + gained)), labels, wrong)
    return labels, new, old


def compare(
    labels: Labels, new: Labels, old: Labels, *, groups: list[str | None] | None = None
) -> bootstrap.Comparison:
    return bootstrap.compare(labels, new, old, level=0.05, resamples=500, seed=1, groups=groups)


def test_the_scores_are_scikit_learns() -> None:
    labels, new, old = answers(300, gained=0.05, lost=0.02, seed=3)
    found = compare(labels, new, old)
    for mine, answered in ((found.new, new), (found.old, old)):
        assert mine == pytest.approx(f1_score(labels, answered, average="macro"), abs=1e-12)
    assert found.discordant == np.sum((labels == new) != (labels == old))
    assert (found.rows, found.groups) == (300, 300)


def test_a_label_with_a_single_row_counts_as_much_as_the_others() -> None:
    labels = np.array(["hello", "hello", "bye", "bye", "pay"])
    new = np.array(["hello", "hello", "bye", "hello", "pay"])
    found = compare(labels, new, labels)
    assert found.new == pytest.approx(f1_score(labels, new, average="macro"))
    assert found.old == 1.0


def test_a_clear_gain_is_certain_and_a_clear_loss_is_seen() -> None:
    labels, new, old = answers(500, gained=0.09, lost=0.0, seed=1)
    assert compare(labels, new, old).lower > 0.03
    assert compare(labels, old, new).lower < -0.09


def test_equal_answers_on_few_rows_prove_little_and_on_many_rows_much() -> None:
    few = answers(60, gained=0.0, lost=0.0, seed=1)
    many = answers(3_000, gained=0.0, lost=0.0, seed=1)
    assert compare(*few).lower < -0.01
    assert -0.002 < compare(*many).lower <= 0.0


def test_the_bound_for_equal_answers_is_that_of_the_exact_distribution() -> None:
    rows = 10
    labels = np.array(["pay"] * rows)
    found = bootstrap.compare(labels, labels, labels, level=0.05, resamples=20_000, seed=1)
    # Each classifier is thought to miss one more row of its own, of twelve.
    drawn = [
        (
            f1_of_one_label(rows, new) - f1_of_one_label(rows, old),
            multinomial.pmf([rows - new - old, new, old], n=rows, p=[10 / 12, 1 / 12, 1 / 12]),
        )
        for new in range(rows + 1)
        for old in range(rows + 1 - new)
    ]

    def quantile(level: float) -> float:
        reached = 0.0
        for difference, probability in sorted(drawn):
            reached += probability
            if reached >= level:
                return difference
        raise AssertionError

    # The bound is a little more careful than its level.
    assert quantile(0.02) - 1e-9 <= found.lower <= quantile(0.05) + 1e-9


def f1_of_one_label(rows: int, missed: int) -> float:
    return 2 * (rows - missed) / (2 * rows - missed)


def test_rows_of_one_conversation_count_as_little_as_they_tell() -> None:
    labels, new, old = (
        np.repeat(column, 10) for column in answers(60, gained=0.09, lost=0.03, seed=4, right=0.9)
    )
    alone = compare(labels, new, old)
    together = compare(labels, new, old, groups=[f"chat {row // 10}" for row in range(600)])
    assert (together.new, together.groups) == (alone.new, 60)
    assert together.lower < alone.lower - 0.01


def test_rows_without_a_conversation_are_drawn_one_by_one() -> None:
    columns = answers(200, gained=0.05, lost=0.02, seed=5)
    one_by_one, plain = compare(*columns, groups=[None] * 200), compare(*columns)
    assert (one_by_one.new, one_by_one.groups) == (plain.new, plain.groups)
    assert one_by_one.lower == pytest.approx(plain.lower, abs=0.01)


@pytest.mark.parametrize(("gained", "lost"), [(0.02, 0.02), (0.01, 0.01)])
def test_an_equal_classifier_is_called_better_no_more_often_than_stated(gained: float, lost: float) -> None:
    tries = 150
    called = sum(
        compare(*answers(200, gained=gained, lost=lost, seed=seed)).lower > 0 for seed in range(tries)
    )
    # Three standard errors above the 5% that are stated.
    assert called <= 0.05 * tries + 3 * (0.05 * 0.95 * tries) ** 0.5
