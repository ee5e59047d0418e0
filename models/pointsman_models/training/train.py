"""Training: from a declared tier to a version in the registry, in one process, always with the same result.

The test part is used once, for the figures on the card; nothing is chosen by it.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, zip_longest

import numpy as np
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

from pointsman_models.data import dataset, golden, leakage, tiers
from pointsman_models.inference.classifier import Classifier
from pointsman_models.promotion import decision, gate
from pointsman_models.registry.card import Card, SelfTest, library_versions
from pointsman_models.registry.versions import Registry
from pointsman_models.training import calibration, evaluation, pipelines, search
from pointsman_shared import errors, names
from pointsman_shared.data_files import utterances

Progress = Callable[[str, float], None]

DEFAULT_SEED = 20_240_229
CALIBRATION_FOLDS = 5
SELF_TESTS = 12
# An intent that has lost more than this share of its test rows since the champion is worth a word.
SHRUNK = 0.5
# Where in a run a stage ends; nearly all the time goes into the search.
READ, SEARCHED, CALIBRATED, FITTED, EVALUATED, SAVED = 0.02, 0.85, 0.93, 0.96, 0.97, 0.98


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedVersion:
    """What a training run made."""

    tier: str
    version: int
    promoted: bool
    reasons: tuple[str, ...]
    """Why it was not promoted; empty when it was, or when nobody asked."""
    candidate: bool = False
    """Whether it passed the gate and waits for the shadow's verdict."""
    metrics: dict[str, float]
    pipeline: str
    threshold: float
    duration_s: float
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A trained model before it has a number."""

    pipeline: Pipeline
    candidate: pipelines.Candidate
    classes: tuple[str, ...]
    temperature: float
    threshold: float

    def classifier(self, tier: str) -> Classifier:
        """Build its serving form: what is evaluated is what will serve."""
        return Classifier.from_pipeline(
            self.pipeline,
            tier=tier,
            version=0,
            classes=self.classes,
            temperature=self.temperature,
            threshold=self.threshold,
        )


def _silent(stage: str, fraction: float) -> None:
    """Tell nobody."""


def train(
    tier: tiers.Tier,
    registry: Registry,
    *,
    seed: int = DEFAULT_SEED,
    progress: Progress = _silent,
    requested_by: str = "anonymous",
    promote: bool = True,
    more: Sequence[dataset.Source] = (),
    shadow: gate.Shadow | None = None,
) -> TrainedVersion:
    """Train a tier and keep the result as a new version.

    Args:
        tier: What to train.
        registry: Where to keep it.
        seed: Fixes folds and solvers: the same data, settings and libraries give the same model.
        progress: Told the stage and the share of the run that is done, in [0, 1], several times a second.
        requested_by: Who asked, for the card and the history.
        promote: Whether the version becomes the champion if the gate lets it through. It is judged in any case.
        more: Labelled rows beside the tier's files, which the files overrule.
        shadow: Whose verdict the gate asks for, where the tier requires one.

    Raises:
        ConflictError: Another version was promoted in the meantime; this one is kept.
        InvalidDataError: The data cannot be trained on; says why, with lines.
        SettingsError: The tier's search leaves nothing to try.
    """
    began = time.monotonic()
    progress("reading", 0.0)
    data = dataset.assemble(tier, more)
    leaks = leakage.look(data)
    data = data.with_warnings(*leaks.warnings, *_changes(tier, data, registry))
    wanted = golden.read(tier)
    fitted = fit(data, tier.search, seed=seed, progress=progress)
    progress("evaluating", FITTED)
    classifier = fitted.classifier(tier.name)
    card = _describe(data, wanted, fitted, classifier, seed=seed, requested_by=requested_by, began=began)
    progress("saving", EVALUATED)
    saved = registry.save(tier.name, fitted.pipeline, card)
    progress("judging", SAVED)
    certificate, aliases = decision.hold(
        tier, registry, saved, data, wanted, requested_by=requested_by, leaks=leaks
    )
    registry.certify(certificate)
    reasons = decision.promote(registry, certificate, aliases, tier.gate, shadow=shadow) if promote else []
    progress("done", 1.0)
    return TrainedVersion(
        tier=saved.tier,
        version=saved.version,
        promoted=promote and not reasons,
        reasons=tuple(reasons),
        candidate=bool(reasons) and registry.aliases(tier.name).candidate == saved.version,
        metrics=saved.metrics,
        pipeline=saved.pipeline,
        threshold=saved.threshold,
        duration_s=saved.duration_s,
        warnings=(*saved.warnings, *certificate.notes),
    )


def fit(
    data: dataset.Dataset, space: tiers.SearchSpace, *, seed: int = DEFAULT_SEED, progress: Progress = _silent
) -> Fitted:
    """Search, calibrate and fit; the final model learns the training and the validation part.

    Raises:
        InvalidDataError: The texts hold no words.
        SettingsError: The search leaves nothing to try.
    """
    # One BLAS thread: for matrices of this size more are ten times slower on a busy machine, and the number of
    # threads would change the last digits of a sum, and so the model.
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
    pipeline = search.fit(candidate, learnt, seed=seed)
    return Fitted(
        pipeline=pipeline,
        candidate=candidate,
        classes=tuple(pipeline.classes_.tolist()),
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


def evaluate(classifier: Classifier, part: dataset.Part, *, threshold: float) -> evaluation.Evaluation:
    """Evaluate the serving form of a model on texts it has not seen."""
    answers = evaluation.answer(classifier.probabilities(part.texts), classifier.intents)
    return evaluation.evaluate(answers, np.array(part.labels, dtype=np.str_), threshold=threshold)


def _changes(tier: tiers.Tier, data: dataset.Dataset, registry: Registry) -> list[str]:
    """Say where the data has less to offer than what the champion learnt from: an export may have been cut off."""
    champion = registry.champion(tier.name)
    if champion is None:
        return []
    try:
        before = registry.card(tier.name, champion)
    except errors.RegistryError:
        return []
    tested = Counter(data.part("test").labels)
    found = []
    for intent in before.intents:
        known = before.per_intent.get(intent)
        if intent not in tier.intents:
            verdict = (
                "which gate.may_drop allows" if intent in tier.gate.may_drop else "so the gate will stop it"
            )
            found.append(f"intent {intent!r}, which version {champion} answers, has vanished, {verdict}")
        elif known is not None and tested[intent] < SHRUNK * known.support:
            found.append(
                f"intent {intent!r} has {tested[intent]} test rows; version {champion} was measured by {known.support}"
            )
    return found


class _Steps:
    """Counts fits and tells how far the search is."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._total = total
        self._progress = progress
        self._done = 0

    def __call__(self) -> None:
        self._done += 1
        self._progress("searching", READ + (SEARCHED - READ) * min(self._done / self._total, 1.0))


def _describe(
    data: dataset.Dataset,
    wanted: Sequence[utterances.Utterance],
    fitted: Fitted,
    classifier: Classifier,
    *,
    seed: int,
    requested_by: str,
    began: float,
) -> Card:
    figures = evaluate(classifier, data.part("test"), threshold=fitted.threshold)
    failed = len(gate.check(classifier, wanted))
    options = fitted.candidate
    parts: tuple[dataset.PartName, ...] = ("train", "validation", "test")
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
        classes=fitted.classes,
        temperature=fitted.temperature,
        threshold=fitted.threshold,
        metrics={**figures.metrics, "golden": float(len(wanted)), "golden_failed": float(failed)},
        per_intent=figures.per_intent,
        data=data.files,
        examples={name: len(data.part(name)) for name in parts},
        seed=seed,
        libraries=library_versions(),
        warnings=data.warnings,
        self_test=_ask_self_test(classifier, wanted),
    )


def _ask_self_test(classifier: Classifier, wanted: Sequence[utterances.Utterance]) -> tuple[SelfTest, ...]:
    """Take some golden texts, of each intent in turn, with the answers this version gives."""
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
