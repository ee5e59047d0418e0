"""The search: which of a tier's candidates to train.

Stratified cross-validation on the training part compares the candidates. The validation part then decides between the
best with and the best without a background class: a model that learns what is out of scope can look better merely
because the out-of-scope texts resemble each other. Of a large training part, a sample is searched. Everything runs in this process, because a Celery child must not
start processes of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline

from pointsman_models.data import tiers
from pointsman_models.data.dataset import Dataset, Part
from pointsman_models.inference import classifier
from pointsman_models.inference.scorer import Scores
from pointsman_models.training import calibration, evaluation, pipelines
from pointsman_models.training.pipelines import Candidate
from pointsman_shared import errors, names

OnFit = Callable[[], None]

# More rows hardly change which candidate is best, but the search fits some sixty models.
SEARCHED_ROWS: Final = 10_000
LEAST_ROWS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A candidate with the result of its cross-validation."""

    candidate: Candidate
    temperature: float
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfFold:
    """One candidate's scores of texts, each by a model that had not seen the text."""

    classes: tuple[str, ...]
    scores: Scores
    labels: evaluation.Labels

    @property
    def learnt(self) -> NDArray[np.bool_]:
        """Return which texts have a label among the classes."""
        return np.isin(self.labels, self.classes)

    def fit_temperature(self) -> float:
        """Fit the temperature on the texts whose label is among the classes."""
        places = np.searchsorted(self.classes, self.labels[self.learnt])
        return calibration.fit_temperature(self.scores[self.learnt], places)

    def answers(self, temperature: float) -> evaluation.Answers:
        """Return the calibrated answers."""
        return answers(self.scores, self.classes, temperature)


def groups(dataset: Dataset, space: tiers.SearchSpace) -> list[list[Candidate]]:
    """List the candidates for a dataset; those of a group share their features and classes.

    Raises:
        SettingsError: There is none.
    """
    possible = [True] * dataset.has_out_of_scope + [False] * (len(dataset.intents) > 1)
    found = [
        list(pipelines.candidates(space, features, background=background))
        for background in space.background
        if background in possible
        for features in space.features
    ]
    if not found:
        msg = f"tier {dataset.tier!r}: search.background leaves nothing to try with these intents and files"
        raise errors.SettingsError(msg)
    return found


def choose(dataset: Dataset, space: tiers.SearchSpace, *, seed: int, on_fit: OnFit) -> Candidate:
    """Search the space.

    Args:
        dataset: The tier's data; the search does not use its test part.
        space: What to try.
        seed: Fixes folds and solvers.
        on_fit: Called after each of `count_fits(...)` fits.
    """
    train = sampled(dataset.part("train"), SEARCHED_ROWS, seed=seed)
    best: dict[bool, Judged] = {}
    for group in groups(dataset, space):
        for judged in judge(train, group, folds=space.folds, seed=seed, on_fit=on_fit):
            kind = judged.candidate.background
            # Of equal candidates the first in the declaration stays.
            if kind not in best or judged.score > best[kind].score:
                best[kind] = judged
    if len(best) == 1:
        return next(iter(best.values())).candidate
    validation = dataset.part("validation")
    return max(best.values(), key=lambda judged: validate(judged, train, validation, seed=seed)).candidate


def sampled(part: Part, rows: int, *, seed: int) -> Part:
    """Draw about so many rows at random, of each label its share, but no fewer than a fold needs."""
    if len(part) <= rows:
        return part
    random, labels = np.random.default_rng(seed), np.array(part.labels)
    chosen: list[int] = []
    for label in np.unique(labels):
        places = random.permutation(np.flatnonzero(labels == label))
        chosen += places[: max(LEAST_ROWS, round(len(places) * rows / len(part)))].tolist()
    chosen.sort()
    return Part(
        texts=tuple(part.texts[place] for place in chosen),
        labels=tuple(part.labels[place] for place in chosen),
    )


def count_fits(dataset: Dataset, space: tiers.SearchSpace) -> int:
    """Return how many fits `choose` makes in cross-validation."""
    folds = fold_count(dataset.part("train"), space.folds)
    return folds * sum(len(group) for group in groups(dataset, space))


def judge(part: Part, group: Sequence[Candidate], *, folds: int, seed: int, on_fit: OnFit) -> list[Judged]:
    """Cross-validate the candidates of a group."""
    judged = []
    for candidate, found in zip(
        group, out_of_fold(part, group, folds=folds, seed=seed, on_fit=on_fit), strict=True
    ):
        temperature = found.fit_temperature()
        score = evaluation.selection_score(found.answers(temperature), found.labels)
        judged.append(Judged(candidate=candidate, temperature=temperature, score=score))
    return judged


def validate(judged: Judged, train: Part, validation: Part, *, seed: int) -> tuple[float, float]:
    """Train a candidate on one part and score it on another; the cross-validated score breaks a tie."""
    labels = np.array(validation.labels)
    if not np.any(labels != names.OUT_OF_SCOPE):
        return 0.0, judged.score
    seen = learnable(train, background=judged.candidate.background)
    pipeline = fit(judged.candidate, seen, seed=seed)
    scores = calibration.columns(pipeline.decision_function(validation.texts))
    found = answers(scores, tuple(pipeline.classes_), judged.temperature)
    return evaluation.selection_score(found, labels), judged.score


def out_of_fold(
    part: Part, group: Sequence[Candidate], *, folds: int, seed: int, on_fit: OnFit
) -> list[OutOfFold]:
    """Score each text by a model trained without it. Each fold is vectorised once for the whole group."""
    texts, labels = np.array(part.texts, dtype=object), np.array(part.labels)
    learnt = (
        labels != names.OUT_OF_SCOPE if not group[0].background else np.full(len(labels), fill_value=True)
    )
    classes = tuple(np.unique(labels[learnt]).tolist())
    scores = [np.zeros((len(labels), len(classes))) for _ in group]
    splitter = StratifiedKFold(fold_count(part, folds), shuffle=True, random_state=seed)
    for seen, held in splitter.split(texts, labels):
        rows = seen[learnt[seen]]
        features = pipelines.make_features(group[0].features)
        known, unseen = features.fit_transform(texts[rows]), features.transform(texts[held])
        for candidate, filled in zip(group, scores, strict=True):
            model = pipelines.make_classifier(candidate, seed=seed).fit(known, labels[rows])
            filled[held] = calibration.columns(model.decision_function(unseen))
            on_fit()
    return [OutOfFold(classes=classes, scores=filled, labels=labels) for filled in scores]


def fold_count(part: Part, wanted: int) -> int:
    """Return the number of folds: every label must occur in each."""
    _, counts = np.unique(part.labels, return_counts=True)
    return min(wanted, int(counts.min()))


def learnable(part: Part, *, background: bool) -> Part:
    """Leave the out-of-scope texts out, unless they are a class."""
    if background:
        return part
    rows = [
        (text, label)
        for text, label in zip(part.texts, part.labels, strict=True)
        if label != names.OUT_OF_SCOPE
    ]
    return Part(texts=tuple(text for text, _ in rows), labels=tuple(label for _, label in rows))


def fit(candidate: Candidate, part: Part, *, seed: int) -> Pipeline:
    """Fit a candidate's pipeline on all rows of a part."""
    return pipelines.make(candidate, seed=seed).fit(part.texts, part.labels)


def answers(scores: Scores, classes: Sequence[str], temperature: float) -> evaluation.Answers:
    """Turn scores into calibrated answers, in-scope intents only."""
    intents = [label for label in classes if label != names.OUT_OF_SCOPE]
    places = [place for place, label in enumerate(classes) if label != names.OUT_OF_SCOPE]
    return evaluation.answer(classifier.softmax(scores, temperature)[:, places], intents)
