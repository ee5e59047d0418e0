"""Doing shadow work: give served texts to the versions that did not serve them, and count how the answers compare."""

import hashlib
import logging
import os
import socket
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from pointsman_models.comparison import counts as counting
from pointsman_models.inference.classifier import Predictions
from pointsman_shared import errors, names
from pointsman_shared.settings import Settings
from pointsman_workers.shadow.backlog import Backlog, Taken
from pointsman_workers.shadow.candidates import Candidates, Rival
from pointsman_workers.shadow.circuit_breaker import TRIP, CircuitBreaker
from pointsman_workers.shadow.redaction import Redactor
from pointsman_workers.shadow.served import Part, read
from pointsman_workers.shadow.store import KINDS, Addition, Comparisons, Kind, Row

logger = logging.getLogger(__name__)

# A message that ended its process this often is given up.
MAX_TRIES: Final = 3
TOO_SLOW: Final = "too_slow"
NOT_LOADED: Final = "not_loaded"
PROCESS_LOST: Final = "process_lost"

# Texts that keep a candidate busy for longer count as failed.
TIME_LIMIT_S: Final = 5
# Texts that waited longer are shed; so are those whose outcomes are about to expire.
MAX_AGE_S: Final = 3_600
KEPT_FOR: Final = 0.8
# Work is done in parts of about this long: a user's message may wait that long for this process.
PART_S: Final = 0.02
MOST_TEXTS: Final = 500
FIRST_PACE_S: Final = 1e-4
# A candidate that keeps one part this long is in trouble, though it answers.
SLOW_S: Final = 1.0
# How long one request for shadow work goes on while no user needs the worker.
REQUEST_S: Final = 0.5


class Runner:
    """Compares what served with what did not."""

    def __init__(
        self,
        backlog: Backlog,
        candidates: Candidates,
        store: Comparisons,
        redactor: Redactor,
        settings: Settings,
        *,
        max_age_s: float = MAX_AGE_S,
    ) -> None:
        self._backlog = backlog
        self._candidates = candidates
        self._store = store
        self._redactor = redactor
        self._breaker = CircuitBreaker(store)
        self._max_age_s = min(max_age_s, KEPT_FOR * settings.result_ttl_s)
        self._attributes = settings.shadow_attributes
        self._pace_s = FIRST_PACE_S
        self._time_is_up = False

    def work(self, *, yields: bool, brief: bool = False) -> int:
        """Do shadow work for a while; stop when there is none, or when users need the workers."""
        end = time.monotonic() + (PART_S if brief else REQUEST_S)
        texts, first, self._time_is_up = 0, True, False
        while not self._time_is_up and (first or time.monotonic() < end):
            holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex}"
            taken = self._backlog.take(
                holder,
                most_texts=max(1, min(MOST_TEXTS, int(PART_S / self._pace_s))),
                # Longer than a process can be busy with what it took.
                hold_s=4.0 * TIME_LIMIT_S,
                yields=yields,
                alone=not (first or brief),
            )
            if not taken:
                break
            texts += self._part(taken, holder)
            first = False
        return texts

    def _part(self, taken: Sequence[Taken], holder: str) -> int:
        started = time.monotonic()
        found = _Found(first=taken[0].message_id)
        for doing in [one.doing for one in taken if one.doing is not None]:
            # Two such ends pause a version, before the messages are given up for all their comparisons.
            self._breaker.failed(doing, PROCESS_LOST, TRIP - 1)
        for one in taken:
            self._message(one, found)
            if self._time_is_up:
                # The others are taken again when this process holds them no longer.
                break
        self._store.add(holder, found.messages, found.additions())
        for name, messages in found.lost.items():
            self._backlog.count(name, messages)
        pace_s = (time.monotonic() - started) / max(1, found.texts)
        # Slower is believed at once, faster bit by bit.
        self._pace_s = max(pace_s, 0.7 * self._pace_s + 0.3 * pace_s)
        return found.texts

    def _message(self, taken: Taken, found: "_Found") -> None:
        found.messages.append(taken.message_id)
        try:
            parts = read(taken, self._attributes)
        except (ValueError, TypeError, LookupError, errors.PointsmanError) as error:
            # It has expired, or another release wrote it: what served it is unknown.
            logger.warning("a served message cannot be read any more: %s", type(error).__name__)
            found.lost[names.SHADOW_UNREADABLE if taken.outcome else names.SHADOW_DROPPED] += 1
            return
        shed = self._shed(taken)
        for part in parts:
            for rival in self._candidates.rivals(part.tier, part.version):
                if shed is not None:
                    found.miss(part, rival, kind="shed", reason=shed)
                elif taken.tries > MAX_TRIES:
                    found.miss(part, rival, kind="failed", reason=PROCESS_LOST)
                else:
                    self._compare(part, rival, found)
            found.texts += len(part.intent)

    def _shed(self, taken: Taken) -> str | None:
        if taken.shed is not None:
            return taken.shed
        return "queue_age" if self._backlog.age_s(taken) > self._max_age_s else None

    def _compare(self, part: Part, rival: Rival, found: "_Found") -> None:
        if (refusal := self._breaker.refusal(rival.name)) is not None:
            found.miss(part, rival, kind="shed", reason=refusal)
            return
        if rival.name != found.noted:
            self._backlog.note(found.first, rival.name)
            found.noted = rival.name
        try:
            answers, elapsed_s = self._ask(part, rival)
            seen = _observe(part, answers, elapsed_s)
        except Exception as error:  # a candidate may fail in any way; no user waits for it
            self._failed(part, rival, error, found)
            return
        if elapsed_s > SLOW_S:
            self._breaker.failed(rival.name, "slow")
        else:
            self._breaker.succeeded(rival.name)
        pair = names.pair_name(part.name, rival.name)
        found.add(pair, seen)
        found.sampled[pair] += self._sampled(part, answers, found.thresholds(pair, self._store))

    def _ask(self, part: Part, rival: Rival) -> tuple[Predictions, float]:
        try:
            classifier = self._candidates.classifier(rival.tier, rival.version)
        except Exception as error:
            raise _NotLoadedError(str(error)) from error
        started = time.perf_counter()
        return classifier.classify(part.texts, ranked=1), time.perf_counter() - started

    def _failed(self, part: Part, rival: Rival, error: Exception, found: "_Found") -> None:
        reason = _reason(error)
        logger.warning("shadow candidate %s does not answer: %s", rival.name, reason)
        found.miss(part, rival, kind="failed", reason=reason)
        time_is_up = reason == TOO_SLOW or errors.is_time_up(error.__cause__)
        self._time_is_up |= time_is_up
        # A version that took all the time there was, or cannot be loaded, is not tried twice more.
        at_once = time_is_up or reason == NOT_LOADED
        self._breaker.failed(rival.name, reason, TRIP if at_once else 1)

    def _sampled(
        self, part: Part, answers: Predictions, thresholds: dict[Kind, float]
    ) -> Iterator[tuple[Kind, float, str, Row]]:
        """Yield the texts whose scores are low enough, at most a sample's size of each kind."""
        scored: dict[Kind, list[tuple[float, int]]] = {kind: [] for kind in KINDS}
        for at, (before, after) in enumerate(zip(part.intent, answers.intent, strict=True)):
            kind = KINDS[before == after]
            score = text_score(part.job(at))
            if score < thresholds[kind]:
                scored[kind].append((score, at))
        for kind, low in scored.items():
            for score, at in sorted(low)[: self._store.size(kind)]:
                row = {
                    "text": self._redact(part.texts[at]),
                    "served": part.intent[at],
                    "candidate": answers.intent[at],
                    "served_confidence": part.confidence[at],
                    "candidate_confidence": answers.confidence[at],
                    "tier": part.tier,
                }
                yield kind, score, part.job(at), row

    def _redact(self, text: str) -> str | None:
        try:
            return self._redactor(text)
        except Exception as error:  # any function of the user's; a text that cannot be masked is not kept
            logger.warning("the redactor failed, so a sampled text is not kept: %s", type(error).__name__)
            return None


class _NotLoadedError(errors.PointsmanError):
    """A version cannot be loaded."""


@dataclass(slots=True)
class _Found:
    """What was found out about some messages, to be counted together."""

    first: str
    messages: list[str] = field(default_factory=list)
    counts: dict[str, Counter[counting.Field]] = field(default_factory=dict)
    sampled: dict[str, list[tuple[Kind, float, str, Row]]] = field(default_factory=dict)
    limits: dict[str, dict[Kind, float]] = field(default_factory=dict)
    texts: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    noted: str | None = None

    def add(self, pair: str, seen: counting.Comparison) -> None:
        """Add the counts of a pair."""
        self.counts.setdefault(pair, Counter()).update(seen.counts)
        self.sampled.setdefault(pair, [])

    def miss(self, part: Part, rival: Rival, *, kind: counting.Missing, reason: str) -> None:
        """Add texts that are not compared."""
        missed = counting.miss(part.intent, kind=kind, reason=reason, day=part.day)
        self.add(names.pair_name(part.name, rival.name), missed)

    def thresholds(self, pair: str, store: Comparisons) -> dict[Kind, float]:
        """Return the scores below which texts are sampled."""
        if pair not in self.limits:
            self.limits[pair] = store.thresholds(pair)
        return self.limits[pair]

    def additions(self) -> dict[str, Addition]:
        """Return everything in the store's form."""
        return {
            pair: Addition(fields=counting.Comparison(found).fields(), sampled=self.sampled[pair])
            for pair, found in self.counts.items()
        }


def _observe(part: Part, answers: Predictions, elapsed_s: float) -> counting.Comparison:
    served = counting.Answered(intent=part.intent, confidence=part.confidence, inference_ms=part.inference_ms)
    candidate = counting.Answered(
        intent=answers.intent, confidence=answers.confidence, inference_ms=elapsed_s * 1000
    )
    return counting.observe(served, candidate, day=part.day, attributes=part.attributes)


def _reason(error: Exception) -> str:
    if isinstance(error, _NotLoadedError):
        return NOT_LOADED
    return TOO_SLOW if errors.is_time_up(error) else type(error).__name__


def text_score(job: str) -> float:
    """Return a number in [0, 1) by which a job is sampled; it depends on nothing but the job's id."""
    digest = hashlib.blake2b(job.encode(), digest_size=8, person=b"shadow-text").digest()
    # 53 bits: what the score in a sorted set holds exactly.
    return (int.from_bytes(digest, "big") >> 11) / 2**53
