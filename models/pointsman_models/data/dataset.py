"""A tier's data set: its files joined, checked, and split so that no row ever moves to another part.

A model learns contradictions and copies without complaint. So they are found here, all at once, before the training.
"""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from pointsman_models.data import tiers
from pointsman_models.data.splits import PARTS, PartName, normalise, part_of
from pointsman_shared import errors, names
from pointsman_shared.data_files import rows as formats
from pointsman_shared.data_files import utterances

MIN_EXAMPLES: Final = 10
MIN_TRAIN_EXAMPLES: Final = 2
MAX_PLACES_SHOWN: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What identifies a file, to detect later whether it has changed."""

    name: str
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Texts and their labels, in columns."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    conversations: tuple[str | None, ...] | None = None
    """The conversation of each row; None if no row has one."""

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A tier's checked examples. `out_of_scope` is one of the labels."""

    tier: str
    intents: tuple[str, ...]
    examples: tuple[utterances.Utterance, ...]
    files: tuple[FileFacts, ...]
    warnings: tuple[str, ...]

    @property
    def has_out_of_scope(self) -> bool:
        """Return whether any example is out of scope."""
        return any(example.intent == names.OUT_OF_SCOPE for example in self.examples)

    def with_warnings(self, *found: str) -> "Dataset":
        """Return a copy with further warnings."""
        return dataclasses.replace(self, warnings=(*self.warnings, *found))

    def part(self, *wanted: PartName) -> Part:
        """Return the examples of one or more parts, in the order of the files."""
        chosen = [row for row in self.examples if part_of(row.text, row.conversation) in wanted]
        conversations = tuple(row.conversation for row in chosen)
        return Part(
            texts=tuple(row.text for row in chosen),
            labels=tuple(row.intent for row in chosen),
            conversations=conversations if any(conversations) else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Labelled rows that are not in the tier's files: they come from the product, or are fetched."""

    name: str
    rows: tuple[utterances.Utterance, ...]


def assemble(tier: tiers.Tier, more: Sequence[Source] = ()) -> Dataset:
    """Read and check all of a tier's files, and add further rows.

    An error in a file stops the training. A further row that cannot be used is left out with a warning: its intent is
    not the tier's, the files give another label, or the further rows give two.

    Args:
        tier: The tier.
        more: Further rows. If they give one text two labels, neither counts.

    Raises:
        InvalidDataError: Bad rows, contradictions or missing examples; all of them, with their lines.
    """
    problems = formats.Problems()
    labelled = [(path, _read(tier, path, problems)) for path in tier.datasets]
    background = [(path, _read(tier, path, problems)) for path in tier.out_of_scope]
    problems.raise_if_any()
    rows = [
        _as_out_of_scope(row) if row.intent in tier.out_of_scope_labels else row
        for row in chain.from_iterable(found for _, found in labelled)
    ]
    _check_intents(tier, rows, problems)
    rows.extend(_as_out_of_scope(row) for _, found in background for row in found)
    added, left_out = _fitting(tier, rows, more)
    rows.extend(added)
    if len(rows) > formats.MAX_ROWS:
        problems.add(
            f"tier {tier.name!r}", f"has more than {formats.MAX_ROWS:,} rows of data: use a part of them"
        )
        problems.raise_if_any()
    rows, dropped = _drop_conflicts(rows) if tier.on_conflict == "drop" else (rows, [])
    examples, warnings = _drop_duplicates(rows, problems)
    _check_counts(tier, examples, problems)
    problems.raise_if_any()
    return Dataset(
        tier=tier.name,
        intents=tier.intents,
        examples=tuple(examples),
        files=(
            *(_facts(tier, path, len(found)) for path, found in (*labelled, *background)),
            *(_source_facts(source) for source in more),
        ),
        warnings=(*warnings, *dropped, *left_out, *_untested(tier, examples)),
    )


def _read(tier: tiers.Tier, path: Path, problems: formats.Problems) -> list[utterances.Utterance]:
    try:
        return utterances.read(path, shown_as=tier.shown(path))
    except errors.InvalidDataError as error:
        problems.found.extend(str(error).splitlines())
        return []


def _as_out_of_scope(row: utterances.Utterance) -> utterances.Utterance:
    return dataclasses.replace(row, intent=names.OUT_OF_SCOPE)


def _check_intents(
    tier: tiers.Tier, rows: Iterable[utterances.Utterance], problems: formats.Problems
) -> None:
    known = {*tier.intents, names.OUT_OF_SCOPE}
    for row in rows:
        if row.intent not in known:
            problems.add(row.place, f"intent {row.intent!r} is not declared for the tier {tier.name!r}")


def _drop_conflicts(rows: Sequence[utterances.Utterance]) -> tuple[list[utterances.Utterance], list[str]]:
    """Leave out every row of a text with two labels."""
    labels: dict[str, set[str]] = {}
    for row in rows:
        labels.setdefault(normalise(row.text), set()).add(row.intent)
    kept = [row for row in rows if len(labels[normalise(row.text)]) == 1]
    places = [row.place for row in rows if len(labels[normalise(row.text)]) > 1]
    return kept, [
        f"{len(places)} rows of texts with two labels were left out: {listed(places)}"
    ] if places else []


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
                row.place,
                f"labelled {row.intent!r}, but the same text at {kept.place} is {kept.intent!r}; "
                'on_conflict = "drop" in tiers.toml leaves both out',
            )
        else:
            copies.append(f"{row.place} (as {kept.place})")
            first[normalise(row.text)] = _trained_on(kept, row)
    return list(first.values()), _warn_of(copies)


def _trained_on(kept: utterances.Utterance, copy: utterances.Utterance) -> utterances.Utterance:
    """Of copies in several parts, keep the one in training: a text that was learnt cannot be a test."""
    sides = [PARTS.index(part_of(row.text, row.conversation)) for row in (kept, copy)]
    return copy if sides[1] < sides[0] else kept


def _warn_of(copies: Sequence[str]) -> list[str]:
    return [f"{len(copies)} duplicate rows were left out: {listed(copies)}"] if copies else []


def listed(places: Sequence[str]) -> str:
    """List the first places, and how many more there are."""
    shown = ", ".join(places[:MAX_PLACES_SHOWN])
    more = len(places) - MAX_PLACES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _check_counts(
    tier: tiers.Tier, examples: Iterable[utterances.Utterance], problems: formats.Problems
) -> None:
    examples = list(examples)
    counts = Counter(example.intent for example in examples)
    trained = Counter(row.intent for row in examples if part_of(row.text, row.conversation) == "train")
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
    if len(tier.intents) + len(background) < 2:  # noqa: PLR2004 - a classifier needs two classes
        problems.add(
            place, "has one intent only; it needs a second one, or out_of_scope files to tell it from"
        )


def _untested(tier: tiers.Tier, examples: Iterable[utterances.Utterance]) -> list[str]:
    """Warn of the intents without a test row."""
    tested = {row.intent for row in examples if part_of(row.text, row.conversation) == "test"}
    return [
        f"intent {intent!r} has no test row, so it is unknown how well it is recognised; add some examples"
        for intent in tier.intents
        if intent not in tested
    ]


def _fitting(
    tier: tiers.Tier, rows: Iterable[utterances.Utterance], more: Sequence[Source]
) -> tuple[list[utterances.Utterance], list[str]]:
    """Choose the further rows that agree with the tier, its files and each other."""
    known = {*tier.intents, names.OUT_OF_SCOPE}
    declared = {normalise(row.text): row.intent for row in rows}
    labels: dict[str, set[str]] = {}
    offered = [row for source in more for row in source.rows if row.intent in known]
    for row in offered:
        labels.setdefault(normalise(row.text), set()).add(row.intent)
    agreeing = [
        row
        for row in offered
        if len(labels[normalise(row.text)]) == 1
        and declared.get(normalise(row.text), row.intent) == row.intent
    ]
    unknown = sum(len(source.rows) for source in more) - len(offered)
    counts = {
        "have an intent that the tier does not declare": unknown,
        "contradict the files or each other": len(offered) - len(agreeing),
    }
    sources = ", ".join(source.name for source in more)
    return agreeing, [
        f"{count} rows of {sources} {what}: left out" for what, count in counts.items() if count
    ]


def _source_facts(source: Source) -> FileFacts:
    lines = sorted(f"{row.intent}\t{row.text}" for row in source.rows)
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return FileFacts(name=source.name, sha256=digest, rows=len(source.rows))


def _facts(tier: tiers.Tier, path: Path, rows: int) -> FileFacts:
    return FileFacts(name=tier.shown(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest(), rows=rows)
