"""The gate: what a version must show before it becomes the champion. It names every reason, not only the first.

"Its F1 is higher" is not enough to promote a version: on 200 rows that is little better than chance. The gate asks how
certain the difference is.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pointsman_models.data import leakage
from pointsman_models.data.dataset import Dataset, Part
from pointsman_models.data.tiers import GateOptions
from pointsman_models.inference.classifier import Classifier
from pointsman_models.promotion import bootstrap
from pointsman_models.training import evaluation
from pointsman_models.training.evaluation import Labels
from pointsman_shared import names
from pointsman_shared.data_files import utterances

RESAMPLES: Final = 2_000
TIMED_TEXTS: Final = 200
BYTES_PER_MB: Final = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """What the gate found."""

    reasons: tuple[str, ...]
    """Why the version must not serve; empty if it may."""
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Return whether the version may serve."""
        return not self.reasons


class Gate:
    """Judges a version by a tier's data.

    Args:
        options: What the tier asks for.
        data: The tier's data. The gate uses the test rows only, without those that have near copies in training.
        golden: The golden utterances.
        seed: Fixes the bootstrap.
        leaks: The near copies, if they are known already; finding them takes a while.
    """

    def __init__(
        self,
        options: GateOptions,
        data: Dataset,
        golden: Sequence[utterances.Utterance],
        *,
        seed: int,
        leaks: leakage.Leaks | None = None,
    ) -> None:
        self.options = options
        self._intents = data.intents
        self._golden = golden
        self._seed = seed
        self._near = (leaks or leakage.look(data)).near
        self.test = _rows(data.part("test"), ~self._near)
        self._labels = np.array(self.test.labels, dtype=np.str_)

    def judge(
        self, new: Classifier, champion: Classifier | None = None, *, size_bytes: int = 0
    ) -> GateResult:
        """Judge a version with a file of some size, and compare it with the champion if there is one."""
        wrong = evaluation.golden_failures(new, self._golden)
        figures: dict[str, Any] = {
            "test_rows": len(self.test),
            "near_copies_left_out": int(self._near.sum()),
            "golden": len(self._golden),
            "golden_failed": len(wrong),
            "model_bytes": size_bytes,
        }
        reasons = [*wrong, *self._check_budgets(new, size_bytes, figures)]
        if not len(self.test):
            return GateResult(reasons=(*reasons, "no test rows are left to judge it by"), figures=figures)
        answers = evaluation.ask(new, self.test.texts)
        served = answers.at(new.threshold)
        reasons += self._check_calibration(answers, figures)
        reasons += self._check_out_of_scope(served, figures)
        figures["recall"] = recalls = self._recalls(served, new.intents)
        reasons += self._check_floors(recalls)
        if champion is not None:
            old = evaluation.ask(champion, self.test.texts).at(champion.threshold)
            reasons += self._compare(served, old, champion, figures)
            reasons += self._check_vanished(new, champion)
            reasons += self._check_drops(recalls, self._recalls(old, champion.intents))
        return GateResult(reasons=tuple(reasons), figures=figures)

    def _compare(
        self, served: Labels, old: Labels, champion: Classifier, figures: dict[str, Any]
    ) -> Iterable[str]:
        """Compare with the champion, on the rows whose right answer it can give."""
        known = np.isin(self._labels, [*champion.intents, names.OUT_OF_SCOPE])
        if not known.any():
            return
        found = bootstrap.compare(
            self._labels[known],
            served[known],
            old[known],
            level=self.options.error_rate,
            resamples=RESAMPLES,
            seed=self._seed,
            groups=_rows(self.test, known).conversations,
        )
        figures["comparison"] = {
            "champion": champion.version,
            "macro_f1": round(found.new, 4),
            "champion_macro_f1": round(found.old, 4),
            "lower_bound": round(found.lower, 4),
            "discordant": found.discordant,
            "rows": found.rows,
            "groups": found.groups,
        }
        if found.lower <= -self.options.margin:
            yield (
                f"macro-F1 {found.new:.3f} against the champion's {found.old:.3f} on {found.rows} test rows: with "
                f"{1 - self.options.error_rate:.0%} confidence the difference is above {found.lower:+.3f} only; "
                f"above {-self.options.margin:+.3f} is asked"
            )

    def _check_vanished(self, new: Classifier, champion: Classifier) -> Iterable[str]:
        for intent in champion.intents:
            if intent not in new.intents and intent not in self.options.may_drop:
                yield f"intent {intent!r}, which the champion answers, is gone; to allow it, name it in gate.may_drop"

    def _check_floors(self, recalls: dict[str, float]) -> Iterable[str]:
        for intent in self._intents:
            floor, recall = self.options.floor_of(intent), recalls.get(intent)
            if floor is None:
                continue
            if recall is None:
                yield f"recall of {intent!r} is unknown, for it has no test row; at least {floor:.3f} is asked"
            elif recall < floor:
                yield f"recall of {intent!r} is {recall:.3f}; at least {floor:.3f} is asked"

    def _check_drops(self, recalls: dict[str, float], champions: dict[str, float]) -> Iterable[str]:
        allowed = self.options.recall_drop
        if allowed is None:
            return
        for intent, before in champions.items():
            recall = recalls.get(intent, before)
            if recall < before - allowed:
                yield (
                    f"recall of {intent!r} is {recall:.3f}, with the champion {before:.3f}; "
                    f"a loss of {allowed:.3f} is allowed"
                )

    def _check_out_of_scope(self, served: Labels, figures: dict[str, Any]) -> Iterable[str]:
        outside = self._labels == names.OUT_OF_SCOPE
        if not outside.any():
            return
        recall = float(np.mean(served[outside] == names.OUT_OF_SCOPE))
        figures["out_of_scope_recall"] = round(recall, 4)
        floor = self.options.out_of_scope_recall
        if floor is not None and recall < floor:
            yield f"out-of-scope recall is {recall:.3f}; at least {floor:.3f} is asked"

    def _check_calibration(self, answers: evaluation.Answers, figures: dict[str, Any]) -> Iterable[str]:
        error = evaluation.expected_calibration_error(answers.confidence, answers.intent == self._labels)
        figures["calibration_error"] = round(error, 4)
        limit = self.options.calibration_error
        if limit is not None and error > limit:
            yield f"expected calibration error is {error:.3f}; at most {limit:.3f} is allowed"

    def _check_budgets(self, new: Classifier, size_bytes: int, figures: dict[str, Any]) -> Iterable[str]:
        latency = single_text_ms(new, self.test.texts)
        figures["latency_ms"] = round(latency, 4)
        if self.options.latency_ms is not None and latency > self.options.latency_ms:
            yield f"a single text takes {latency:.2f} ms; at most {self.options.latency_ms:.2f} ms are allowed"
        size = size_bytes / BYTES_PER_MB
        if self.options.size_mb is not None and size > self.options.size_mb:
            yield f"the model file has {size:.1f} MB; at most {self.options.size_mb:.1f} MB are allowed"

    def _recalls(self, served: Labels, intents: Iterable[str]) -> dict[str, float]:
        """Return the recall of each intent that has test rows; a refused text counts as missed."""
        places = {intent: self._labels == intent for intent in intents}
        return {
            intent: round(float(np.mean(served[rows] == intent)), 4)
            for intent, rows in places.items()
            if rows.any()
        }


def single_text_ms(
    classifier: Classifier, texts: Sequence[str], *, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Measure the median time of classifying one text, in milliseconds; the clock counts seconds."""
    times = []
    for text in texts[:TIMED_TEXTS] or ("hello",):
        began = clock()
        classifier.classify([text])
        times.append(clock() - began)
    return statistics.median(times) * 1000


def _rows(part: Part, wanted: NDArray[np.bool_]) -> Part:
    places = np.flatnonzero(wanted)
    return Part(
        texts=tuple(part.texts[place] for place in places),
        labels=tuple(part.labels[place] for place in places),
        conversations=tuple(part.conversations[place] for place in places) if part.conversations else None,
    )
