"""Doing a shadow message: give the texts to the models that did not serve them, and count how the answers compare."""

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from pointsman_models import comparison
from pointsman_shared import names
from pointsman_shared.settings import Settings
from pointsman_shared.shadow_messages import Shadowed
from pointsman_workers.candidates import CandidateNotLoadedError, Candidates, Rival
from pointsman_workers.comparisons import KINDS, Comparisons, Kind, Row
from pointsman_workers.redaction import Redactor

logger = logging.getLogger(__name__)

# A message that ended its process so often is not tried again.
MAX_ATTEMPTS = 3
TOO_SLOW = "too_slow"
NOT_LOADED = "not_loaded"
# What is raised into the work when its time is up; by name, because only the tasks know whose it is.
_TIME_IS_UP = "SoftTimeLimitExceeded"


class Shadowing:
    """Compares what served with what did not.

    Args:
        candidates: Where models come from.
        store: Where it is counted.
        redactor: Masks the texts that are kept.
        settings: The limits.
    """

    def __init__(
        self, candidates: Candidates, store: Comparisons, redactor: Redactor, settings: Settings
    ) -> None:
        self._candidates = candidates
        self._store = store
        self._redactor = redactor
        self._settings = settings

    def compare(self, shadowed: Shadowed) -> None:
        """Compare a message's texts, each kind of rival once.

        Raises:
            StoreUnavailableError: Redis is away; what was not counted has to be done again.
        """
        if time.time() - shadowed.published_at > self._settings.shadow_max_age_s:
            self.miss(shadowed, kind="shed", reason="queue_age")
            return
        attempt = self._store.begin(shadowed.message_id)
        if attempt > MAX_ATTEMPTS:
            self.miss(shadowed, kind="failed", reason="process_lost")
        else:
            for part in _parts(shadowed):
                for rival in self._candidates.rivals(part.tier, part.version):
                    self._compare(part, rival)
        self._store.end(shadowed.message_id)

    def miss(self, shadowed: Shadowed, *, kind: comparison.Missing, reason: str) -> None:
        """Count texts that are not going to be compared.

        Raises:
            StoreUnavailableError: Redis is away.
        """
        for part in _parts(shadowed):
            for rival in self._candidates.rivals(part.tier, part.version):
                self._miss(part, rival, kind=kind, reason=reason)

    def _compare(self, part: "_Part", rival: Rival) -> None:
        started = time.perf_counter()
        try:
            answers = self._candidates.classifier(rival.tier, rival.version).classify(part.texts)
        except Exception as error:  # a candidate may fail in any way; nobody waits for it
            reason = _reason(error)
            if reason != NOT_LOADED:
                self._candidates.suspend(rival.tier, rival.version, f"it does not answer: {reason}")
                logger.warning("shadow candidate %s does not answer: %s", rival.name, reason)
            self._miss(part, rival, kind="failed", reason=reason)
            return
        elapsed_ms = (time.perf_counter() - started) * 1000
        self._candidates.clear(rival.tier, rival.version)
        found = comparison.observe(
            comparison.Answered(
                intent=part.intent, confidence=part.confidence, inference_ms=part.inference_ms
            ),
            comparison.Answered(
                intent=answers.intent, confidence=answers.confidence, inference_ms=elapsed_ms
            ),
            day=part.day,
            attributes=part.attributes,
        )
        pair = names.pair_name(part.name, rival.name)
        rows = self._sampled(part, answers.intent, answers.confidence, self._store.thresholds(pair))
        self._store.add(part.message_id, _comparison(part, rival), pair, found.fields(), list(rows))

    def _miss(self, part: "_Part", rival: Rival, *, kind: comparison.Missing, reason: str) -> None:
        found = comparison.miss(part.intent, kind=kind, reason=reason, day=part.day)
        pair = names.pair_name(part.name, rival.name)
        self._store.add(part.message_id, _comparison(part, rival), pair, found.fields())

    def _sampled(
        self,
        part: "_Part",
        intents: Sequence[str],
        confidences: Sequence[float],
        thresholds: dict[Kind, float],
    ) -> Iterator[tuple[Kind, float, str, Row]]:
        """Give the texts whose scores are low enough, a sample's size of each kind at most."""
        scored: dict[Kind, list[tuple[float, int]]] = {kind: [] for kind in KINDS}
        for at, (before, after) in enumerate(zip(part.intent, intents, strict=True)):
            kind = KINDS[before == after]
            score = text_score(names.job_id(part.message_id, part.places[at]))
            if score < thresholds[kind]:
                scored[kind].append((score, at))
        for kind, found in scored.items():
            for score, at in sorted(found)[: self._store.size(kind)]:
                job = names.job_id(part.message_id, part.places[at])
                row = {
                    "text": self._redactor(part.texts[at]),
                    "served": part.intent[at],
                    "candidate": intents[at],
                    "served_confidence": part.confidence[at],
                    "candidate_confidence": confidences[at],
                    "tier": part.tier,
                }
                yield kind, score, job, row


class _Part:
    """The texts of a message that one version served, in columns."""

    def __init__(self, shadowed: Shadowed, tier: str, version: int, chosen: Sequence[int]) -> None:
        def pick(column: Sequence[Any]) -> list[Any]:
            return [column[at] for at in chosen]

        self.message_id = shadowed.message_id
        self.tier = tier
        self.version = version
        self.name = names.version_name(tier, version)
        self.texts: list[str] = pick(shadowed.texts)
        self.intent: list[str] = pick(shadowed.intent)
        self.confidence: list[float] = pick(shadowed.confidence)
        self.places: list[int] = list(chosen) if shadowed.places is None else pick(shadowed.places)
        self.attributes = {name: pick(column) for name, column in shadowed.attributes.items()}
        self.day = datetime.fromtimestamp(shadowed.published_at, UTC).date().isoformat()
        self.inference_ms = sum(shadowed.routes[route].ms_per_text for route in pick(shadowed.route_of))


def _reason(error: Exception) -> str:
    if isinstance(error, CandidateNotLoadedError):
        return NOT_LOADED
    kind = type(error).__name__
    return TOO_SLOW if kind == _TIME_IS_UP else kind


def text_score(job: str) -> float:
    """Give a number in [0, 1) by which a job is sampled: the same whoever computes it."""
    digest = hashlib.blake2b(job.encode(), digest_size=8, person=b"shadow-text").digest()
    # 53 bits: what a sorted set's score holds exactly.
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def _parts(shadowed: Shadowed) -> list[_Part]:
    places: dict[tuple[str, int], list[int]] = {}
    for at, route in enumerate(shadowed.route_of):
        served = shadowed.routes[route]
        places.setdefault((served.tier, served.version), []).append(at)
    return [_Part(shadowed, tier, version, chosen) for (tier, version), chosen in places.items()]


def _comparison(part: _Part, rival: Rival) -> str:
    """Name a comparison of a message without the rival's version, which may change before it is done again."""
    return f"{part.name}:{rival.kind}"
