"""The counts of two models' answers to the same texts.

A comparison is a set of named whole numbers. Adding two of them, field by field, gives the comparison of both sets of
texts together; neither order nor grouping changes the result, and a store needs only "increment this field". For that
reason sums are in whole units (ten-thousandths, microseconds): sums of floating-point numbers depend on their order.
`agreement` interprets the numbers. The size of a comparison does not grow with the number of texts.
"""

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from operator import eq
from typing import Literal, Self

Field = tuple[str, ...]
SideName = Literal["served", "candidate"]
Missing = Literal["shed", "failed"]

CONFIDENCE_UNITS = 10_000
CONFIDENCE_BINS = 20
# Eight bins per decade of milliseconds for one text, from a microsecond to a second, and one more at either end.
LATENCY_EDGES_MS = tuple(10 ** (step / 8) for step in range(-24, 25))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One model's answers to some texts, in columns."""

    intent: Sequence[str]
    confidence: Sequence[float] | None = None
    """In [0, 1]; None if it was not recorded."""
    inference_ms: float | None = None
    """The time for all these texts together; None if it was not recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The number of some texts, and of those on which the two models agreed."""

    texts: int
    agreed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One model's confidence and inference time."""

    mean_confidence: float | None
    confidence_histogram: tuple[int, ...]
    """Texts in `CONFIDENCE_BINS` bins of equal width over [0, 1]."""
    mean_latency_ms: float | None
    """Inference time for one text."""
    latency_histogram: tuple[int, ...]
    """Texts in the bins between `LATENCY_EDGES_MS`, each with the mean time of the message it came in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """The candidate's confidence minus the served model's, text by text."""

    texts: int
    mean: float
    variance: float
    """The mean squared distance from the mean."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The counts of a pair of models; `Comparison()` has no texts.

    Attributes:
        counts: The fields, without zeros.
    """

    counts: Mapping[Field, int] = field(default_factory=dict)

    def __add__(self, other: "Comparison") -> "Comparison":
        """Return the comparison of both sets of texts together."""
        counts = dict(self.counts)
        for name, count in other.counts.items():
            counts[name] = counts.get(name, 0) + count
        return Comparison({name: count for name, count in counts.items() if count})

    def fields(self) -> dict[str, int]:
        """Return the fields for a store that increments: the names as strings, and the values to add."""
        return {json.dumps(name, separators=(",", ":")): count for name, count in self.counts.items()}

    @classmethod
    def from_fields(cls, fields: Mapping[str, int]) -> Self:
        """Read the output of `fields`, or the sums of many such outputs."""
        return cls({tuple(json.loads(name)): count for name, count in fields.items() if count})

    @property
    def texts(self) -> int:
        """The number of texts that both models answered."""
        return sum(self.flows().values())

    @property
    def agreed(self) -> int:
        """The number of them with the same intent from both."""
        return sum(count for (served, candidate), count in self.flows().items() if served == candidate)

    def flows(self) -> dict[tuple[str, str], int]:
        """Return the number of texts of every (served intent, candidate intent) that occurred."""
        return {(served, candidate): count for (served, candidate), count in self._under("flow")}

    def tallies(self, *prefix: str) -> dict[str, Tally]:
        """Return the agreement of each group of texts.

        Args:
            *prefix: `"day"`, or `"attribute"` and the attribute's name.
        """
        texts = {name: count for (name,), count in self._under("texts", *prefix)}
        agreed = {name: count for (name,), count in self._under("agreed", *prefix)}
        return {name: Tally(texts=texts[name], agreed=agreed.get(name, 0)) for name in sorted(texts)}

    def attributes(self) -> list[str]:
        """List the attributes by which texts were counted."""
        return sorted({name[0] for name, _ in self._under("texts", "attribute")})

    def side(self, name: SideName) -> Side:
        """Return one model's confidence and time."""
        sure, timed = self._histogram("confidence_bin", name), self._histogram("latency_bin", name)
        return Side(
            mean_confidence=_mean(self._count("confidence", name), sum(sure), CONFIDENCE_UNITS),
            confidence_histogram=sure,
            mean_latency_ms=_mean(self._count("inference_us", name), sum(timed), 1_000),
            latency_histogram=timed,
        )

    def shift(self) -> Shift | None:
        """Return the candidate's confidence minus the served model's, over the texts with both."""
        texts = self._count("shift", "texts")
        if not texts:
            return None
        mean = self._count("shift", "sum") / texts / CONFIDENCE_UNITS
        square = self._count("shift", "squares") / texts / CONFIDENCE_UNITS**2
        return Shift(texts=texts, mean=mean, variance=max(0.0, square - mean**2))

    def missed(self, kind: Missing) -> dict[str, int]:
        """Return the number of sampled texts that were not compared, by reason."""
        return {reason: count for (reason,), count in self._under("missed", kind)}

    def missed_by(self, group: Literal["intent", "day"]) -> dict[str, int]:
        """Return the number of texts that were not compared, by their served intent or by their day."""
        return {name: count for (name,), count in self._under("missed_by", group)}

    def _count(self, *name: str) -> int:
        return self.counts.get(name, 0)

    def _under(self, *prefix: str) -> Iterator[tuple[Field, int]]:
        depth = len(prefix)
        return ((name[depth:], count) for name, count in self.counts.items() if name[:depth] == prefix)

    def _histogram(self, kind: str, side: str) -> tuple[int, ...]:
        bins = CONFIDENCE_BINS if kind == "confidence_bin" else len(LATENCY_EDGES_MS) + 1
        return tuple(self._count(kind, side, str(place)) for place in range(bins))


def observe(
    served: Answered,
    candidate: Answered,
    *,
    day: str,
    attributes: Mapping[str, Sequence[str | None]] | None = None,
) -> Comparison:
    """Compare two models' answers to the same texts.

    Args:
        served: The answers that users got.
        candidate: The answers of the other model.
        day: When the texts were served, as `2026-11-21`.
        attributes: By attribute its value for each text; None is not counted. Every value costs two fields.

    Raises:
        ValueError: The columns have different lengths.
    """
    same = [*map(eq, served.intent, candidate.intent)]
    counts: Counter[Field] = Counter(
        ("flow", *pair) for pair in zip(served.intent, candidate.intent, strict=True)
    )
    counts["texts", "day", day] = len(same)
    counts["agreed", "day", day] = sum(same)
    for attribute, values in (attributes or {}).items():
        _check_length(values, same)
        counts.update(("texts", "attribute", attribute, value) for value in values if value is not None)
        shared = compress(values, same)
        counts.update(("agreed", "attribute", attribute, value) for value in shared if value is not None)
    counts.update(_of_side("served", served))
    counts.update(_of_side("candidate", candidate))
    counts.update(_of_shift(served.confidence, candidate.confidence))
    return Comparison({name: count for name, count in counts.items() if count})


def miss(served_intents: Sequence[str], *, kind: Missing, reason: str, day: str) -> Comparison:
    """Count texts that were sampled and not compared.

    Their served intents are known, and show how far the compared texts differ from all sampled texts.

    Args:
        served_intents: The served model's answers.
        kind: `shed` before the candidate saw them, or `failed` in the candidate.
        reason: A short name, such as `queue_age`; every reason takes a field.
        day: When the texts were served.
    """
    counts: Counter[Field] = Counter(("missed_by", "intent", intent) for intent in served_intents)
    counts["missed", kind, reason] = len(served_intents)
    counts["missed_by", "day", day] = len(served_intents)
    return Comparison({name: count for name, count in counts.items() if count})


def _of_side(side: SideName, answered: Answered) -> Counter[Field]:
    counts: Counter[Field] = Counter()
    if answered.confidence is not None:
        _check_length(answered.confidence, answered.intent)
        units = [round(share * CONFIDENCE_UNITS) for share in answered.confidence]
        counts["confidence", side] = sum(units)
        counts.update(("confidence_bin", side, str(_confidence_bin(unit))) for unit in units)
    if answered.inference_ms is not None and len(answered.intent):
        texts = len(answered.intent)
        place = bisect_right(LATENCY_EDGES_MS, answered.inference_ms / texts)
        counts["inference_us", side] = round(answered.inference_ms * 1_000)
        counts["latency_bin", side, str(place)] = texts
    return counts


def _of_shift(served: Sequence[float] | None, candidate: Sequence[float] | None) -> dict[Field, int]:
    if served is None or candidate is None:
        return {}
    shifts = [
        round(after * CONFIDENCE_UNITS) - round(before * CONFIDENCE_UNITS)
        for before, after in zip(served, candidate, strict=True)
    ]
    squares = sum(shift * shift for shift in shifts)
    return {("shift", "texts"): len(shifts), ("shift", "sum"): sum(shifts), ("shift", "squares"): squares}


def _confidence_bin(units: int) -> int:
    return min(units * CONFIDENCE_BINS // CONFIDENCE_UNITS, CONFIDENCE_BINS - 1)


def _check_length(column: Sequence[object], other: Sequence[object]) -> None:
    if len(column) != len(other):
        msg = f"a column has {len(column)} entries for {len(other)} texts"
        raise ValueError(msg)


def _mean(total: int, count: int, unit: int) -> float | None:
    return total / count / unit if count else None
