"""Doing shadow work: give served texts to the models that did not serve them, and count how the answers compare."""

import base64
import hashlib
import logging
import os
import socket
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from pointsman_models.comparison import counts as comparison
from pointsman_shared import errors, names
from pointsman_shared.settings import Settings
from pointsman_shared.wire import jobs
from pointsman_workers.shadow import sampling
from pointsman_workers.shadow.backlog import Taken, Waiting
from pointsman_workers.shadow.candidates import CandidateNotLoadedError, Candidates, Rival
from pointsman_workers.shadow.circuit_breaker import TRIP, Breaker
from pointsman_workers.shadow.redaction import Redactor
from pointsman_workers.shadow.store import KINDS, Addition, Comparisons, Kind, Row

logger = logging.getLogger(__name__)

# A message that ended its process so often is not tried again.
MAX_ATTEMPTS = 3
TOO_SLOW = "too_slow"
NOT_LOADED = "not_loaded"
PROCESS_LOST = "process_lost"
# What is raised into the work when its time is up; by name, because only the tasks know whose it is.
_TIME_IS_UP = "SoftTimeLimitExceeded"

# Work is done in parts that take about this long: so long may somebody who comes meanwhile wait for this process.
PART_S = 0.02
MOST_TEXTS = 500
FIRST_PACE_S = 1e-4
# A candidate that keeps one part this long is in trouble, though it answers.
SLOW_S = 1.0
# What waited for that much of the time for which outcomes are kept is only counted.
KEPT_FOR = 0.8
# How long one call to do shadow work goes on while nobody else needs the workers.
CALL_S = 0.5


class Shadowing:
    """Compares what served with what did not.

    Args:
        waiting: What there is to do.
        candidates: Where models come from.
        store: Where it is counted.
        redactor: Masks the texts that are kept.
        settings: The limits.
    """

    def __init__(
        self,
        waiting: Waiting,
        candidates: Candidates,
        store: Comparisons,
        redactor: Redactor,
        settings: Settings,
    ) -> None:
        self._waiting = waiting
        self._candidates = candidates
        self._store = store
        self._redactor = redactor
        self._breaker = Breaker(store)
        # An outcome that is kept no longer can be compared no longer, nor be counted.
        self._max_age_s = min(settings.shadow_max_age_s, KEPT_FOR * settings.result_ttl_s)
        self._attributes = settings.shadow_attributes
        # Longer than a process can be busy with what it took.
        self._hold_s = 4.0 * settings.shadow_time_limit_s
        self._pace_s = FIRST_PACE_S
        self._time_is_up = False

    def work(self, *, yields: bool, brief: bool = False) -> int:
        """Do shadow work for a while; stop when there is none, or as soon as users need the workers.

        Args:
            yields: Whether users may need this process; one that only does shadow work goes on.
            brief: Whether the time of one part is enough; what is only counted takes less.

        Returns:
            How many texts were compared or counted.

        Raises:
            StoreUnavailableError: Redis is away; what was not counted is done again.
        """
        end = time.monotonic() + (PART_S if brief else CALL_S)
        texts, first, self._time_is_up = 0, True, False
        while not self._time_is_up and (first or time.monotonic() < end):
            holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex}"
            most = max(1, min(MOST_TEXTS, int(PART_S / self._pace_s)))
            taken = self._waiting.take(
                holder, most_texts=most, hold_s=self._hold_s, yields=yields, alone=not (first or brief)
            )
            if not taken:
                break
            texts += self._part(taken, holder, most)
            first = False
        return texts

    def _part(self, taken: Sequence[Taken], holder: str, most: int) -> int:
        begun = time.monotonic()
        found = _Found(first=taken[0].message_id)
        for doing in [one.doing for one in taken if one.doing is not None]:
            # Two such ends pause it, before the messages are given up for all their comparisons.
            self._breaker.failed(doing, PROCESS_LOST, TRIP - 1)
        for one in taken:
            self._message(one, most, found)
            if self._time_is_up:
                # The rest of them is taken again when it is held no longer.
                break
        self._store.add(holder, found.settled, found.additions())
        if found.lost:
            self._waiting.drop(found.lost)
        pace_s = (time.monotonic() - begun) / max(1, found.texts)
        # Slower is believed at once, faster bit by bit.
        self._pace_s = max(pace_s, 0.7 * self._pace_s + 0.3 * pace_s)
        return found.texts

    def _message(self, taken: Taken, most: int, found: "_Found") -> None:
        try:
            read = _read(taken, self._attributes)
        except (ValueError, TypeError, LookupError, errors.PointsmanError) as error:
            # Gone before its turn came, or written by another release: nobody knows what served it.
            logger.warning("a served message cannot be read any more: %s", type(error).__name__)
            found.settled[taken.message_id] = None
            found.lost += 1
            return
        count = len(read["intent"])
        reason = self._shed(taken)
        lost = taken.attempts > MAX_ATTEMPTS
        end = count if reason or lost else min(count, taken.done + most)
        chosen = range(taken.done, end)
        for part in _parts(taken, read, chosen):
            for rival in self._candidates.rivals(part.tier, part.version):
                if reason is not None:
                    found.miss(part, rival, kind="shed", reason=reason)
                elif lost:
                    found.miss(part, rival, kind="failed", reason=PROCESS_LOST)
                else:
                    self._compare(part, rival, found)
        found.texts += len(chosen)
        found.settled[taken.message_id] = None if end == count else end

    def _shed(self, taken: Taken) -> str | None:
        if taken.shed is not None:
            return taken.shed
        return "queue_age" if time.time() - taken.served_at > self._max_age_s else None

    def _compare(self, part: "_Part", rival: Rival, found: "_Found") -> None:
        if (refusal := self._breaker.refusal(rival.name)) is not None:
            found.miss(part, rival, kind="shed", reason=refusal)
            return
        if rival.name != found.noted:
            self._waiting.note(found.first, rival.name)
            found.noted = rival.name
        try:
            classifier = self._candidates.classifier(rival.tier, rival.version)
            started = time.perf_counter()
            answers = classifier.classify(part.texts)
            elapsed_s = time.perf_counter() - started
            seen = comparison.observe(
                comparison.Answered(
                    intent=part.intent, confidence=part.confidence, inference_ms=part.inference_ms
                ),
                comparison.Answered(
                    intent=answers.intent, confidence=answers.confidence, inference_ms=elapsed_s * 1000
                ),
                day=part.day,
                attributes=part.attributes,
            )
        except Exception as error:  # a candidate may fail in any way; nobody waits for it
            self._failed(part, rival, error, found)
            return
        if elapsed_s > SLOW_S:
            self._breaker.failed(rival.name, "slow")
        else:
            self._breaker.succeeded(rival.name)
        pair = names.pair_name(part.name, rival.name)
        found.add(pair, seen)
        found.sampled[pair] += self._sampled(
            part, answers.intent, answers.confidence, found.thresholds(pair, self._store)
        )

    def _failed(self, part: "_Part", rival: Rival, error: Exception, found: "_Found") -> None:
        reason = _reason(error)
        logger.warning("shadow candidate %s does not answer: %s", rival.name, reason)
        found.miss(part, rival, kind="failed", reason=reason)
        time_is_up = reason == TOO_SLOW or type(error.__cause__).__name__ == _TIME_IS_UP
        self._time_is_up |= time_is_up
        # What took all the time there was, or cannot be loaded, is not tried twice more.
        at_once = time_is_up or reason == NOT_LOADED
        self._breaker.failed(rival.name, reason, TRIP if at_once else 1)

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
        for kind, low in scored.items():
            for score, at in sorted(low)[: self._store.size(kind)]:
                job = names.job_id(part.message_id, part.places[at])
                row = {
                    "text": self._redact(part.texts[at]),
                    "served": part.intent[at],
                    "candidate": intents[at],
                    "served_confidence": part.confidence[at],
                    "candidate_confidence": confidences[at],
                    "tier": part.tier,
                }
                yield kind, score, job, row

    def _redact(self, text: str) -> str | None:
        try:
            return self._redactor(text)
        except Exception as error:  # somebody else's function; what cannot be masked is not kept
            logger.warning("the redactor failed, so a sampled text is not kept: %s", type(error).__name__)
            return None


@dataclass(slots=True)
class _Found:
    """What was found out of some messages, to be counted together.

    Attributes:
        first: One of the messages, at which is noted who has the texts now.
        noted: Who was noted last.
        lost: How many messages cannot be counted.
    """

    first: str
    settled: dict[str, int | None] = field(default_factory=dict)
    counts: dict[str, Counter[comparison.Field]] = field(default_factory=dict)
    sampled: dict[str, list[tuple[Kind, float, str, Row]]] = field(default_factory=dict)
    limits: dict[str, dict[Kind, float]] = field(default_factory=dict)
    texts: int = 0
    lost: int = 0
    noted: str | None = None

    def add(self, pair: str, seen: comparison.Comparison) -> None:
        """Add what was counted of a pair."""
        self.counts.setdefault(pair, Counter()).update(seen.counts)
        self.sampled.setdefault(pair, [])

    def miss(self, part: "_Part", rival: Rival, *, kind: comparison.Missing, reason: str) -> None:
        """Add texts that are not compared."""
        missed = comparison.miss(part.intent, kind=kind, reason=reason, day=part.day)
        self.add(names.pair_name(part.name, rival.name), missed)

    def thresholds(self, pair: str, store: Comparisons) -> dict[Kind, float]:
        """Give the scores below which texts are sampled."""
        if pair not in self.limits:
            self.limits[pair] = store.thresholds(pair)
        return self.limits[pair]

    def additions(self) -> dict[str, Addition]:
        """Give it in the store's form."""
        return {
            pair: Addition(fields=comparison.Comparison(counts).fields(), sampled=self.sampled[pair])
            for pair, counts in self.counts.items()
        }


class _Part:
    """The texts of a message that one version served, in columns."""

    def __init__(self, taken: Taken, read: Row, tier: str, version: int, chosen: Sequence[int]) -> None:
        def pick(column: Sequence[Any]) -> list[Any]:
            return [column[at] for at in chosen]

        self.message_id = taken.message_id
        self.tier = tier
        self.version = version
        self.name = names.version_name(tier, version)
        # Of what is only counted, the texts are not kept.
        self.texts: list[str] = pick(read["texts"]) if read["texts"] else []
        self.intent: list[str] = pick(read["intent"])
        self.confidence: list[float] = pick(read["confidence"])
        self.places: list[int] = list(chosen) if taken.places is None else pick(taken.places)
        self.attributes = {name: pick(column) for name, column in read["attributes"].items()}
        self.day = datetime.fromtimestamp(taken.served_at, UTC).date().isoformat()
        self.inference_ms = sum(read["routes"][route]["ms_per_text"] for route in pick(read["route_of"]))


def _read(taken: Taken, attributes: Sequence[str]) -> Row:
    """Give the columns of a message's texts that are to be shadowed."""
    stored = orjson.loads(taken.outcome or b"{}")
    request: jobs.ClassifyRequest | None = None
    if taken.request is not None:
        request = jobs.ClassifyRequest.parse(orjson.loads(taken.request))
    elif taken.message is not None:
        args, kwargs, _ = orjson.loads(base64.b64decode(orjson.loads(taken.message)["body"]))
        request = jobs.ClassifyRequest.parse(next(iter((*args, *kwargs.values()))))
    return sampling.columns(request, stored["result"], taken.places, attributes)


def _parts(taken: Taken, read: Row, chosen: Sequence[int]) -> list[_Part]:
    places: dict[tuple[str, int], list[int]] = {}
    for at in chosen:
        served = read["routes"][read["route_of"][at]]
        places.setdefault((served["tier"], served["version"]), []).append(at)
    return [_Part(taken, read, tier, version, some) for (tier, version), some in places.items()]


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
