"""A tier's dataset: its files put together, checked, and split so that no row ever changes sides.

A model learns contradictions and copies without complaint; so they are found here, all at once, before a training
spends a minute on them.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final, Literal

from pointsman_models import tiers
from pointsman_shared import errors, formats, names, utterances

PartName = Literal["train", "validation", "test"]
MIN_EXAMPLES: Final = 10
MIN_TRAIN_EXAMPLES: Final = 2
MAX_PLACES_SHOWN: Final = 20
TRAIN_SHARE: Final = 0.70
VALIDATION_SHARE: Final = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """Which data it was: enough to tell later whether a file has changed."""

    name: str
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Texts and their labels, in columns."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A tier's checked examples. `out_of_scope` is a label among the others."""

    tier: str
    intents: tuple[str, ...]
    examples: tuple[utterances.Utterance, ...]
    files: tuple[FileFacts, ...]
    warnings: tuple[str, ...]

    @property
    def has_out_of_scope(self) -> bool:
        """Say whether any example is out of scope."""
        return any(example.intent == names.OUT_OF_SCOPE for example in self.examples)

    def part(self, *wanted: PartName) -> Part:
        """Give the examples of one or more parts, in the order of the files."""
        chosen = [example for example in self.examples if part_of(example.text) in wanted]
        return Part(texts=tuple(row.text for row in chosen), labels=tuple(row.intent for row in chosen))


def assemble(tier: tiers.Tier) -> Dataset:
    """Read and check all of a tier's files.

    Raises:
        InvalidDataError: Bad rows, contradictions or missing examples; all of them, with their lines.
    """
    problems = formats.Problems()
    labelled = [(path, _read(tier, path, problems)) for path in tier.datasets]
    background = [(path, _read(tier, path, problems)) for path in tier.out_of_scope]
    problems.raise_if_any()
    rows = list(chain.from_iterable(found for _, found in labelled))
    _check_intents(tier, rows, problems)
    rows.extend(_as_out_of_scope(row) for _, found in background for row in found)
    examples, warnings = _drop_duplicates(rows, problems)
    _check_counts(tier, examples, problems)
    problems.raise_if_any()
    return Dataset(
        tier=tier.name,
        intents=tier.intents,
        examples=tuple(examples),
        files=tuple(_facts(tier, path, len(found)) for path, found in (*labelled, *background)),
        warnings=tuple(warnings),
    )


def normalise(text: str) -> str:
    """Reduce a text to what tells it from others: letter case, punctuation and spacing do not.

    A text of nothing but punctuation stays as it is.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = "".join(" " if unicodedata.category(character)[0] == "P" else character for character in folded)
    return " ".join(words.split()) or folded.strip()


def part_of(text: str) -> PartName:
    """Say in which part a text belongs: about 70/15/15, decided by the normalised text alone.

    New rows never move old ones, so the test part stays unseen from one version to the next. Within an intent
    the shares hold on average.
    """
    digest = hashlib.blake2b(normalise(text).encode(), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2**64
    if place < TRAIN_SHARE:
        return "train"
    return "validation" if place < TRAIN_SHARE + VALIDATION_SHARE else "test"


def _read(tier: tiers.Tier, path: Path, problems: formats.Problems) -> list[utterances.Utterance]:
    try:
        return utterances.read(path, shown_as=tier.shown(path))
    except errors.InvalidDataError as error:
        problems.found.extend(str(error).splitlines())
        return []


def _as_out_of_scope(row: utterances.Utterance) -> utterances.Utterance:
    return utterances.Utterance(text=row.text, intent=names.OUT_OF_SCOPE, source=row.source, line=row.line)


def _check_intents(
    tier: tiers.Tier, rows: Iterable[utterances.Utterance], problems: formats.Problems
) -> None:
    known = {*tier.intents, names.OUT_OF_SCOPE}
    for row in rows:
        if row.intent not in known:
            problems.add(row.place, f"intent {row.intent!r} is not declared for the tier {tier.name!r}")


def _drop_duplicates(
    rows: Sequence[utterances.Utterance], problems: formats.Problems
) -> tuple[list[utterances.Utterance], list[str]]:
    first: dict[str, utterances.Utterance] = {}
    copies: list[str] = []
    for row in rows:
        kept = first.setdefault(normalise(row.text), row)
        if kept is row:
            continue
        if kept.intent != row.intent:
            problems.add(
                row.place, f"labelled {row.intent!r}, but the same text at {kept.place} is {kept.intent!r}"
            )
        else:
            copies.append(f"{row.place} (as {kept.place})")
    return list(first.values()), _warn_of(copies)


def _warn_of(copies: Sequence[str]) -> list[str]:
    if not copies:
        return []
    shown = ", ".join(copies[:MAX_PLACES_SHOWN])
    more = f" and {len(copies) - MAX_PLACES_SHOWN} more" if len(copies) > MAX_PLACES_SHOWN else ""
    return [f"{len(copies)} duplicate rows were left out: {shown}{more}"]


def _check_counts(
    tier: tiers.Tier, examples: Iterable[utterances.Utterance], problems: formats.Problems
) -> None:
    examples = list(examples)
    counts = Counter(example.intent for example in examples)
    trained = Counter(example.intent for example in examples if part_of(example.text) == "train")
    background = [names.OUT_OF_SCOPE] if counts[names.OUT_OF_SCOPE] or tier.out_of_scope else []
    place = f"tier {tier.name!r}"
    for intent in (*tier.intents, *background):
        if not counts[intent]:
            problems.add(place, f"intent {intent!r} is declared but has no example")
        elif counts[intent] < MIN_EXAMPLES:
            problems.add(
                place, f"intent {intent!r} has {counts[intent]} different examples; {MIN_EXAMPLES} are needed"
            )
        elif trained[intent] < MIN_TRAIN_EXAMPLES:
            problems.add(place, f"intent {intent!r} has too few examples to train on; add some more")
    if len(tier.intents) + len(background) < 2:  # noqa: PLR2004 - a classifier tells one thing from another
        problems.add(
            place, "has one intent only; it needs a second one, or out_of_scope files to tell it from"
        )


def _facts(tier: tiers.Tier, path: Path, rows: int) -> FileFacts:
    return FileFacts(name=tier.shown(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest(), rows=rows)
