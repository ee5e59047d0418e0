import functools
import math

import numpy as np
import pytest

from pointsman_models.comparison import accuracy, intervals, labels
from pointsman_shared.wire import shadow_report

# Of a population of texts: how many there are of each (served, candidate) while the label is "a".
POPULATION = {("a", "a"): 8_200, ("x", "x"): 800, ("a", "b"): 250, ("b", "a"): 450, ("b", "c"): 300}
TEXTS = sum(POPULATION.values())
AGREED = sum(count for pair, count in POPULATION.items() if pair[0] == pair[1])
SERVED, CANDIDATE = 8_450 / TEXTS, 8_650 / TEXTS


def sample(generator: np.random.Generator, disagreements: int, agreements: int) -> list[labels.LabelledPair]:
    """Draw so many of either kind, in a random order, without looking at the label."""
    return [
        labels.LabelledPair(served=served, candidate=candidate, label="a", probability=size / len(texts))
        for size, texts in [(disagreements, of_kind(agreed=False)), (agreements, of_kind(agreed=True))]
        for served, candidate in (texts[place] for place in generator.choice(len(texts), size, replace=False))
    ]


@functools.cache
def of_kind(*, agreed: bool) -> list[tuple[str, str]]:
    return [
        pair for pair, count in POPULATION.items() if (pair[0] == pair[1]) is agreed for _ in range(count)
    ]


@pytest.fixture(scope="module")
def estimates() -> list[shadow_report.Accuracy]:
    generator = np.random.default_rng(8)
    return [accuracy.estimate(sample(generator, 120, 80), texts=TEXTS, agreed=AGREED) for _ in range(500)]


@pytest.mark.parametrize(
    ("name", "truth"), [("served", SERVED), ("candidate", CANDIDATE), ("difference", CANDIDATE - SERVED)]
)
def test_the_estimates_are_right_on_average_and_their_intervals_hold_the_truth(
    estimates: list[shadow_report.Accuracy], name: str, truth: float
) -> None:
    found = [getattr(estimate, name) for estimate in estimates]
    values = np.array([one.value for one in found])
    assert abs(values.mean() - truth) < 4 * values.std() / np.sqrt(len(values))
    assert np.mean([one.low <= truth <= one.high for one in found]) > 0.935
    assert all(one.low <= one.value <= one.high for one in found)


def test_the_labelled_texts_alone_would_mislead() -> None:
    pairs = sample(np.random.default_rng(8), 120, 80)
    alone = np.mean([pair.served_right for pair in pairs])
    assert abs(alone - SERVED) > 0.2


def test_weights_are_the_inverse_of_the_probabilities() -> None:
    def pair(served: str, candidate: str, probability: float) -> labels.LabelledPair:
        return labels.LabelledPair(served=served, candidate=candidate, label="a", probability=probability)

    pairs = [
        pair("a", "a", 0.1),
        pair("x", "x", 0.05),
        pair("a", "b", 1.0),
        pair("b", "a", 1.0),
        pair("b", "a", 1.0),
        pair("b", "c", 0.5),
    ]
    found = accuracy.estimate(pairs, texts=35, agreed=30)
    # All texts that were drawn are labelled, and stand for as many as there are: the Horvitz-Thompson estimate.
    weights = [1 / one.probability for one in pairs if one.probability]
    assert sum(weights) == 35
    rights: list[list[int]] = [
        [one.served_right for one in pairs],
        [one.candidate_right for one in pairs],
        [one.score for one in pairs],
    ]
    for interval, right in zip((found.served, found.candidate, found.difference), rights, strict=True):
        assert interval is not None
        assert interval.value == pytest.approx(np.dot(weights, right) / 35)


def test_a_file_that_is_labelled_throughout_has_its_plain_accuracy() -> None:
    right = [("a", "a")] * 70 + [("b", "a")] * 20 + [("a", "b")] * 10
    pairs = [
        labels.LabelledPair(served=served, candidate=candidate, label="a", probability=1.0)
        for served, candidate in right
    ]
    found = accuracy.estimate(pairs, texts=100, agreed=70)
    assert found.served is not None
    assert found.candidate is not None
    assert found.difference is not None
    assert found.served.value == pytest.approx(0.8)
    assert found.candidate.value == pytest.approx(0.9)
    assert found.difference.value == pytest.approx(0.1)
    # The intervals, put together from two kinds of texts, are as wide as those of plain samples.
    plain = intervals.wilson(80, 100)
    assert found.served.high - found.served.low == pytest.approx(plain.high - plain.low, rel=0.1)
    paired = 2 * 1.96 * math.sqrt((0.3 - 0.1**2) / 100)
    assert found.difference.high - found.difference.low == pytest.approx(paired, rel=0.1)


def test_that_a_few_labels_were_ties_does_not_prove_the_models_equal() -> None:
    pairs = [labels.LabelledPair(served="b", candidate="c", label="a", probability=0.1)] * 5
    found = accuracy.estimate(pairs, texts=1_000, agreed=900).difference
    assert found is not None
    assert found.value == 0
    assert found.low < -0.01 < 0.01 < found.high


def test_without_labelled_agreements_only_the_difference_is_known() -> None:
    pairs = [labels.LabelledPair(served="b", candidate="a", label="a", probability=0.5)] * 10
    found = accuracy.estimate(pairs, texts=1_000, agreed=900)
    assert (found.served, found.candidate) == (None, None)
    assert found.difference is not None
    assert found.difference.value == pytest.approx(0.1)
    assert (found.labelled_agreements, found.labelled_disagreements) == (0, 10)


def test_texts_chosen_by_a_person_are_set_aside() -> None:
    chosen = labels.LabelledPair(served="b", candidate="a", label="a", probability=None)
    found = accuracy.estimate([chosen] * 3, texts=1_000, agreed=900)
    assert (found.set_aside, found.difference, found.labelled_disagreements) == (3, None, 0)


def test_models_that_always_agree_are_equally_accurate() -> None:
    pairs = [labels.LabelledPair(served="a", candidate="a", label="a", probability=0.1)] * 20
    found = accuracy.estimate(pairs, texts=200, agreed=200)
    assert found.served is not None
    assert found.served == found.candidate
    # All of them are right, and yet twenty labels do not prove that every text is.
    assert (found.served.value, found.served.high) == (1.0, 1.0)
    assert found.served.low == pytest.approx(0.8389, abs=1e-4)
    assert found.difference is not None
    assert (found.difference.low, found.difference.high) == (0.0, 0.0)


def test_nothing_is_known_of_no_texts() -> None:
    found = accuracy.estimate([], texts=0, agreed=0)
    assert (found.served, found.candidate, found.difference) == (None, None, None)


@pytest.mark.parametrize("probability", [0.0, -0.1, 1.01])
def test_a_probability_that_is_none_is_refused(probability: float) -> None:
    with pytest.raises(ValueError, match="probability of being drawn"):
        labels.LabelledPair(served="a", candidate="b", label="a", probability=probability)


@pytest.mark.parametrize(("wins", "ties", "losses"), [(7, 2, 3), (1, 0, 0), (4, 9, 4), (0, 1, 12)])
def test_the_interval_of_the_difference_is_agresti_and_mins(wins: int, ties: int, losses: int) -> None:
    def pairs(served: str, candidate: str, count: int) -> list[labels.LabelledPair]:
        return [
            labels.LabelledPair(served=served, candidate=candidate, label="a", probability=1.0)
            for _ in range(count)
        ]

    all_pairs = [*pairs("b", "a", wins), *pairs("b", "c", ties), *pairs("a", "b", losses)]
    texts = len(all_pairs)
    found = accuracy.estimate(all_pairs, texts=texts, agreed=0).difference
    # The paper: half an observation is added to each of the four cells of the matched pairs, then Wald's formula.
    n, won, lost = texts + 2, wins + 0.5, losses + 0.5
    centre = (won - lost) / n
    half = 1.959964 * math.sqrt(won + lost - (won - lost) ** 2 / n) / n
    assert found is not None
    assert found.low == pytest.approx(max(-1, centre - half), abs=1e-6)
    assert found.high == pytest.approx(min(1, centre + half), abs=1e-6)
