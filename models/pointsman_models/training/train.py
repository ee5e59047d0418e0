"""Fit one model of a tier: search, calibrate, fit, describe. The same data always gives the same model.

The test part is used once, for the figures on the card; no choice depends on it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, zip_longest

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

from pointsman_models.data import dataset, splits, tiers
from pointsman_models.inference.classifier import Classifier
from pointsman_models.inference.linear_model import LinearModel
from pointsman_models.registry.card import Card, SelfTest, library_versions
from pointsman_models.training import calibration, evaluation, linear_models, pipelines, search
from pointsman_shared import errors, names
from pointsman_shared.data_files import utterances

Progress = Callable[[str, float], None]

DEFAULT_SEED = 20_240_229
CALIBRATION_FOLDS = 5
SELF_TESTS = 12
# The share of the run that is done when a stage ends; the search takes nearly all the time.
READ, SEARCHED, CALIBRATED, FITTED, EVALUATED, SAVED = 0.02, 0.85, 0.93, 0.96, 0.97, 0.98


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A trained model before it has a number."""

    model: LinearModel
    candidate: pipelines.Candidate
    temperature: float
    threshold: float

    def classifier(self, tier: str) -> Classifier:
        """Build the serving form, which is also the form that is evaluated."""
        return Classifier(
            self.model,
            tier=tier,
            version=0,
            temperature=self.temperature,
            threshold=self.threshold,
        )


def silent(stage: str, fraction: float) -> None:
    """Ignore the progress."""


def fit(
    data: dataset.Dataset, space: tiers.SearchSpace, *, seed: int = DEFAULT_SEED, progress: Progress = silent
) -> Fitted:
    """Search, calibrate and fit; the final model learns the training and the validation part.

    Raises:
        InvalidDataError: The texts hold no words.
        SettingsError: The search leaves nothing to try.
    """
    # One BLAS thread: more of them are ten times slower on a busy machine at this size, and their number would
    # change the last digits of a sum, and so the model.
    try:
        with threadpool_limits(limits=1):
            return _fit(data, space, seed=seed, progress=progress)
    except ValueError as error:
        if "empty vocabulary" not in str(error):
            raise
        msg = f"tier {data.tier!r}: its texts hold no words to learn from, or not enough for the n-grams of its search"
        raise errors.InvalidDataError(msg) from error


def _fit(data: dataset.Dataset, space: tiers.SearchSpace, *, seed: int, progress: Progress) -> Fitted:
    advance = _Steps(search.count_fits(data, space), progress)
    candidate = search.choose(data, space, seed=seed, on_fit=advance)
    progress("calibrating", SEARCHED)
    known = data.part("train", "validation")
    temperature, threshold = calibrate(candidate, known, recall_floor=space.recall_floor, seed=seed)
    progress("fitting", CALIBRATED)
    learnt = search.learnable(known, background=candidate.background)
    return Fitted(
        model=linear_models.from_pipeline(search.fit(candidate, learnt, seed=seed)),
        candidate=candidate,
        temperature=temperature,
        threshold=threshold,
    )


def calibrate(
    candidate: pipelines.Candidate, part: dataset.Part, *, recall_floor: float, seed: int
) -> tuple[float, float]:
    """Fit the temperature and choose the threshold, both on out-of-fold scores."""
    found = search.out_of_fold(part, [candidate], folds=CALIBRATION_FOLDS, seed=seed, on_fit=lambda: None)[0]
    temperature = found.fit_temperature()
    answers = found.answers(temperature)
    threshold = calibration.choose_threshold(
        answers.confidence,
        answers.intent == found.labels,
        found.labels != names.OUT_OF_SCOPE,
        recall_floor=recall_floor,
    )
    return temperature, threshold


class _Steps:
    """Counts fits and reports how far the search is."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._total = total
        self._progress = progress
        self._done = 0

    def __call__(self) -> None:
        self._done += 1
        self._progress("searching", READ + (SEARCHED - READ) * min(self._done / self._total, 1.0))


def describe(
    data: dataset.Dataset,
    wanted: Sequence[utterances.Utterance],
    fitted: Fitted,
    *,
    seed: int,
    requested_by: str,
    began: float,
) -> Card:
    """Evaluate a model on the test part and fill in its card.

    Args:
        data: The tier's data.
        wanted: The tier's golden utterances.
        fitted: The model.
        seed: The seed of the run.
        requested_by: Who asked for the training.
        began: When the run began, on the monotonic clock.
    """
    classifier = fitted.classifier(data.tier)
    test = data.part("test")
    answers = evaluation.ask(classifier, test.texts)
    figures = evaluation.evaluate(answers, np.array(test.labels, dtype=np.str_), threshold=fitted.threshold)
    failed = len(evaluation.golden_failures(classifier, wanted))
    options = fitted.candidate
    return Card(
        tier=data.tier,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        requested_by=requested_by,
        duration_s=round(time.monotonic() - began, 3),
        pipeline=options.describe(),
        parameters={
            "features": options.features.model_dump(mode="json"),
            "classifier": options.kind,
            "c": options.c,
            "background": options.background,
        },
        intents=classifier.intents,
        classes=fitted.model.classes,
        temperature=fitted.temperature,
        threshold=fitted.threshold,
        metrics={**figures.metrics, "golden": float(len(wanted)), "golden_failed": float(failed)},
        per_intent=figures.per_intent,
        data=data.files,
        examples={name: len(data.part(name)) for name in splits.PARTS},
        seed=seed,
        libraries=library_versions(),
        warnings=data.warnings,
        self_test=_record_self_test(classifier, wanted),
    )


def _record_self_test(classifier: Classifier, wanted: Sequence[utterances.Utterance]) -> tuple[SelfTest, ...]:
    """Record the model's answers to some golden texts, which are taken from each intent in turn."""
    by_intent: dict[str, list[str]] = {}
    for row in wanted:
        by_intent.setdefault(row.intent, []).append(row.text)
    mixed = [text for text in chain.from_iterable(zip_longest(*by_intent.values())) if text is not None]
    texts = mixed[:SELF_TESTS]
    found = classifier.classify(texts)
    return tuple(
        SelfTest(text=text, intent=intent, confidence=confidence)
        for text, intent, confidence in zip(texts, found.intent, found.confidence, strict=True)
    )
