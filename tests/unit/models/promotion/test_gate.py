"""What the gate asks of a version, one reason a test; all of them together at the end."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pointsman_models.data import dataset, splits, tiers
from pointsman_models.inference.classifier import Classifier
from pointsman_models.promotion import gate
from pointsman_models.promotion.gate import Gate, GateResult
from pointsman_models.training import linear_models, pipelines, search
from pointsman_shared import errors
from pointsman_shared.data_files import utterances
from tests.support import tier_files

INTENTS = ("greeting", "goodbye", "business_hours")


def utterance(text: str, intent: str) -> utterances.Utterance:
    return utterances.Utterance(text=text, intent=intent, source="golden.jsonl", line=1)


def fitted(data: dataset.Dataset, *, version: int, blind_to: Sequence[str] = ()) -> Classifier:
    """Fit a version; it never learns the intents it is blind to, and calls their texts greetings."""
    known = data.part("train", "validation")
    labels = tuple("greeting" if label in blind_to else label for label in known.labels)
    options = tiers.FeatureOptions(words=(1, 2))
    wanted = pipelines.Candidate(features=options, kind="LinearSVC", c=1.0, background=True)
    pipeline = search.fit(wanted, dataset.Part(texts=known.texts, labels=labels), seed=1)
    return Classifier(
        linear_models.from_pipeline(pipeline),
        tier="small",
        version=version,
        temperature=4.0,
        threshold=0.2,
    )


@pytest.fixture
def data(tmp_path: Path) -> dataset.Dataset:
    return dataset.assemble(tier_files.small_tier(tmp_path))


def judge(
    data: dataset.Dataset,
    new: Classifier,
    *,
    champion: Classifier | None = None,
    golden: Sequence[utterances.Utterance] = (),
    **options: Any,
) -> GateResult:
    wanted = tiers.GateOptions(**{"margin": 0.6, **options})
    return Gate(wanted, data, golden, seed=1).judge(new, champion, size_bytes=40_000)


@pytest.fixture
def good(data: dataset.Dataset) -> Classifier:
    return fitted(data, version=2)


@pytest.fixture
def blind(data: dataset.Dataset) -> Classifier:
    return fitted(data, version=3, blind_to=["goodbye"])


def test_a_version_as_good_as_the_champion_passes_with_its_figures(
    data: dataset.Dataset, good: Classifier
) -> None:
    verdict = judge(data, good, champion=good, recall_drop=0.0)
    assert verdict.reasons == ()
    assert verdict.figures["comparison"]["discordant"] == 0
    assert verdict.figures["comparison"]["champion"] == 2
    assert set(verdict.figures["recall"]) == set(INTENTS)


def test_the_figures_have_four_decimals(data: dataset.Dataset, good: Classifier) -> None:
    figures = [value for value in judge(data, good).figures.values() if isinstance(value, float)]
    assert figures
    assert figures == [round(value, 4) for value in figures]


def test_on_few_rows_equality_is_not_certain_enough_for_a_small_margin(
    data: dataset.Dataset, good: Classifier
) -> None:
    (reason,) = judge(data, good, champion=good, margin=0.01).reasons
    assert "above -0.010 is asked" in reason


def test_a_worse_version_is_stopped_by_the_comparison(
    data: dataset.Dataset, good: Classifier, blind: Classifier
) -> None:
    reasons = judge(data, blind, champion=good).reasons
    assert any(reason.startswith("macro-F1 ") and "95% confidence" in reason for reason in reasons)


def test_an_intent_that_vanished_is_named_unless_it_may(
    data: dataset.Dataset, good: Classifier, blind: Classifier
) -> None:
    assert any(
        "'goodbye', which the champion answers, is gone" in r
        for r in judge(data, blind, champion=good).reasons
    )
    allowed = judge(data, blind, champion=good, may_drop=("goodbye",)).reasons
    assert not any("is gone" in reason for reason in allowed)


def test_a_champion_that_does_not_know_an_intent_is_not_measured_by_it(
    data: dataset.Dataset, good: Classifier, blind: Classifier
) -> None:
    known = judge(data, good, champion=blind).figures["comparison"]["rows"]
    everything = judge(data, good, champion=good).figures["comparison"]["rows"]
    assert known < everything


@pytest.mark.parametrize("options", [{"recall_floor": 0.9}, {"recall_floors": {"goodbye": 0.5}}])
def test_a_recall_below_its_floor_is_named(data: dataset.Dataset, options: Any) -> None:
    shy = fitted(data, version=4)
    shy.threshold = 1.1
    reasons = judge(data, shy, **options).reasons
    assert any(reason.startswith("recall of 'goodbye' is 0.000; at least") for reason in reasons)


def test_a_floor_for_an_intent_without_test_rows_is_not_taken_as_reached(
    data: dataset.Dataset, good: Classifier
) -> None:
    untested = dataclasses.replace(
        data,
        examples=tuple(
            row for row in data.examples if row.intent != "goodbye" or splits.part_of(row.text) != "test"
        ),
    )
    (reason,) = judge(untested, good, recall_floors={"goodbye": 0.5}).reasons
    assert reason == "recall of 'goodbye' is unknown, for it has no test row; at least 0.500 is asked"


def test_a_recall_lost_against_the_champion_is_named(data: dataset.Dataset, good: Classifier) -> None:
    shy = fitted(data, version=4)
    shy.threshold = 1.1
    reasons = judge(data, shy, champion=good, recall_drop=0.1).reasons
    assert sum("with the champion 1.000; a loss of 0.100" in reason for reason in reasons) == 3


def test_letting_out_of_scope_texts_in_is_named(data: dataset.Dataset) -> None:
    eager = fitted(data, version=4)
    eager.threshold = 0.0
    reasons = judge(data, eager, out_of_scope_recall=0.5).reasons
    assert reasons == ("out-of-scope recall is 0.000; at least 0.500 is asked",)


def test_a_bad_calibration_is_named(data: dataset.Dataset, good: Classifier) -> None:
    (reason,) = judge(data, good, calibration_error=0.0).reasons
    assert reason.startswith("expected calibration error is 0.")


def test_budgets_of_time_and_size_are_kept(data: dataset.Dataset, good: Classifier) -> None:
    slow, large = judge(data, good, latency_ms=1e-9, size_mb=0.01).reasons
    assert slow.startswith("a single text takes")
    assert large == "the model file has 0.0 MB; at most 0.0 MB are allowed"


def test_all_reasons_are_given_at_once(data: dataset.Dataset, blind: Classifier, good: Classifier) -> None:
    golden = [utterance("bye now", "goodbye"), utterance("see you later", "goodbye")]
    reasons = judge(
        data, blind, champion=good, golden=golden, latency_ms=1e-9, size_mb=0.001, recall_drop=0.0
    ).reasons
    for beginning in (
        "golden utterance 'bye now'",
        "golden utterance 'see you",
        "a single",
        "the model",
        "macro-F1",
    ):
        assert sum(reason.startswith(beginning) for reason in reasons) == 1


def test_near_copies_of_training_rows_prove_nothing_and_are_left_out(tmp_path: Path) -> None:
    tier = tier_files.small_tier(tmp_path)
    before = Gate(tier.gate, dataset.assemble(tier), [], seed=1).test
    tested = next(text for text in before.texts if len(text) > 20)
    spellings = [f"{tested}{letter}" for letter in "abcdefgh"]
    copy = next(text for text in spellings if splits.part_of(text) == "train")
    rows = [(row.text, row.intent) for row in utterances.read(tier.datasets[0])]
    intent = before.labels[before.texts.index(tested)]
    tier_files.write_lines(tier.datasets[0], [*rows, (copy, intent)])
    after = Gate(tier.gate, dataset.assemble(tier), [], seed=1).test
    assert tested not in after.texts


@pytest.mark.parametrize(
    "table",
    [
        "recall_floors = { nonsense = 0.5 }",
        "margin = -1",
        "confidence = 0.9",
    ],
)
def test_a_gate_that_cannot_be_used_is_refused(tmp_path: Path, table: str) -> None:
    with pytest.raises(errors.SettingsError):
        tier_files.small_tier(tmp_path, search=f"[tiers.small.gate]\n{table}\n{tier_files.SEARCH}")


def test_a_recall_at_its_floor_is_enough(data: dataset.Dataset, good: Classifier) -> None:
    recall = judge(data, good).figures["recall"]["goodbye"]
    assert recall > 0
    assert judge(data, good, recall_floors={"goodbye": recall}).reasons == ()


class Stopwatch:
    """A classifier that takes a given time for each text, on a clock of its own."""

    def __init__(self, seconds: Sequence[float]) -> None:
        self.now = 1_000.0
        self._left = list(seconds)

    def classify(self, texts: Sequence[str]) -> None:
        assert len(texts) == 1
        self.now += self._left.pop(0)


def test_the_time_for_a_single_text_is_the_median_in_milliseconds() -> None:
    slow: Any = Stopwatch([0.001, 0.500, 0.002, 0.004, 0.003])
    found = gate.single_text_ms(slow, ["hi"] * 5, clock=lambda: slow.now)
    assert found == pytest.approx(3.0)
