"""Tiers: which intents a model answers, which data it is trained on, and which flag leads users to it.

A file declares them; the code knows none. A new tier, or a team's own intents, takes a change of `tiers.toml`, of the
flag and of data only.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pointsman_shared import errors, names
from pointsman_shared.wire import jobs

FILE_NAME = "tiers.toml"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
MAX_NGRAM = 8
MAX_TIERS = 100
MAX_FILES = 1_000
MAX_INTENTS = 5_000
# Of one kind: a training fits each combination.
MAX_CHOICES = 50
# More of tiers.toml than this is not read.
MAX_CHARS = 4_000_000


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FeatureOptions(_Declared):
    """The features of a text: n-grams of words, of characters inside words, or both."""

    words: tuple[int, int] | None = None
    """Shortest and longest word n-gram."""
    characters: tuple[int, int] | None = None
    """Shortest and longest character n-gram."""
    sublinear: bool = False
    """Count 1 + log(tf) instead of tf."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        sizes = [size for size in (self.words, self.characters) if size is not None]
        if not sizes:
            msg = "give words, characters or both"
            raise ValueError(msg)
        if any(not 1 <= shortest <= longest <= MAX_NGRAM for shortest, longest in sizes):
            msg = f"n-gram lengths must be 1 <= from <= to <= {MAX_NGRAM}"
            raise ValueError(msg)
        return self


class ClassifierOptions(_Declared):
    """A linear classifier and the inverse regularisation strengths to try."""

    kind: Literal["LinearSVC", "LogisticRegression"]
    c: tuple[float, ...] = Field(min_length=1, max_length=MAX_CHOICES)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(strength <= 0 for strength in self.c):
            msg = "c must be positive"
            raise ValueError(msg)
        return self


class SearchSpace(_Declared):
    """What a training tries."""

    features: tuple[FeatureOptions, ...] = Field(
        default=(
            FeatureOptions(words=(1, 2)),
            FeatureOptions(words=(1, 2), characters=(2, 5), sublinear=True),
        ),
        min_length=1,
        max_length=MAX_CHOICES,
    )
    classifiers: tuple[ClassifierOptions, ...] = Field(
        default=(ClassifierOptions(kind="LinearSVC", c=(0.1, 0.3, 1.0)),),
        min_length=1,
        max_length=MAX_CHOICES,
    )
    background: tuple[bool, ...] = Field(default=(True, False), min_length=1, max_length=2)
    """Whether to learn the out-of-scope rows as a class."""
    folds: int = Field(default=3, ge=2, le=10)
    recall_floor: float = Field(default=0.9, ge=0, le=1)
    """The share of correctly recognised in-scope texts that must stay above the threshold."""


class GateOptions(_Declared):
    """What a new version must show before it serves. A figure without a limit is only reported."""

    error_rate: float = Field(default=0.05, gt=0, lt=0.5)
    """At most this share of the versions that are worse than the champion by the margin is promoted."""
    margin: float = Field(default=0.01, ge=0, lt=1)
    """How much macro-F1 a version may lose; with 0 it has to be better."""
    recall_floor: float | None = Field(default=None, ge=0, le=1)
    """The recall every intent must reach."""
    recall_floors: dict[str, float] = Field(default_factory=dict)
    """The recall that single intents must reach."""
    recall_drop: float | None = Field(default=None, ge=0, le=1)
    """How much recall an intent may lose against the champion."""
    out_of_scope_recall: float | None = Field(default=None, ge=0, le=1)
    """The share of out-of-scope texts that must be refused."""
    calibration_error: float | None = Field(default=None, ge=0, le=1)
    """The highest expected calibration error."""
    latency_ms: float | None = Field(default=None, gt=0)
    """The highest median time to classify a single text."""
    size_mb: float | None = Field(default=None, gt=0)
    """The largest model file, in millions of bytes."""
    may_drop: tuple[str, ...] = ()
    """Intents of the champion that may vanish."""
    require_shadow: Literal["no worse", "better"] | None = None
    """The shadow's verdict that is required as well; a version that waits for it becomes the candidate."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(not 0 <= floor <= 1 for floor in self.recall_floors.values()):
            msg = "recall_floors lie between 0 and 1"
            raise ValueError(msg)
        return self

    def floor_of(self, intent: str) -> float | None:
        """Return the recall that an intent must reach, if any."""
        return self.recall_floors.get(intent, self.recall_floor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """One declared tier."""

    name: str
    intents: tuple[str, ...]
    datasets: tuple[Path, ...]
    out_of_scope: tuple[Path, ...]
    golden: Path | None
    on_conflict: Literal["error", "drop"]
    """What happens to texts with two labels: the training fails, or leaves all their rows out."""
    out_of_scope_labels: tuple[str, ...]
    """Labels in the datasets that mean the same as `out_of_scope`."""
    search: SearchSpace
    gate: GateOptions
    root: Path
    """The folder of the declaration; messages name files relative to it."""

    def shown(self, path: Path) -> str:
        """Return a file's name as it was declared."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """How the value of a feature flag leads to a tier."""

    flag: str
    values: Mapping[str, str]
    """The tier of each value; a boolean's values are `true` and `false`."""
    default: str
    """The tier without a usable value."""

    @property
    def tiers(self) -> frozenset[str]:
        """The tiers that users can be served by."""
        return frozenset((*self.values.values(), self.default))

    @property
    def is_boolean(self) -> bool:
        """Whether the flag is a boolean; otherwise it is a text."""
        return self.values.keys() <= {"true", "false"}

    def tier(self, value: object) -> str | None:
        """Return the tier that a value leads to, or None if it leads to none."""
        return self.values.get(str(value).lower() if isinstance(value, bool) else str(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """All that `tiers.toml` declares."""

    tiers: Mapping[str, Tier]
    routing: Routing


class _RoutingTable(_Declared):
    flag: str = Field(min_length=1)
    values: dict[str, str] = Field(min_length=1)
    default: str


class _TierTable(_Declared):
    intents: tuple[str, ...] = Field(min_length=1, max_length=MAX_INTENTS)
    datasets: tuple[Path, ...] = Field(min_length=1, max_length=MAX_FILES)
    out_of_scope: tuple[Path, ...] = Field(default=(), max_length=MAX_FILES)
    golden: Path | None = None
    on_conflict: Literal["error", "drop"] = "error"
    out_of_scope_labels: tuple[str, ...] = ()
    search: dict[str, Any] = Field(default_factory=dict)
    gate: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if names.OUT_OF_SCOPE in self.intents:
            msg = f"{names.OUT_OF_SCOPE} is the answer to everything else and cannot be an intent"
            raise ValueError(msg)
        if both := set(self.intents) & set(self.out_of_scope_labels):
            msg = f"{min(both)} cannot be an intent and one of out_of_scope_labels"
            raise ValueError(msg)
        if len(set(self.intents)) < len(self.intents) or not all(map(str.strip, self.intents)):
            msg = "an intent is named twice or has no name"
            raise ValueError(msg)
        return self


class _TiersFile(_Declared):
    tiers: dict[str, _TierTable] = Field(min_length=1, max_length=MAX_TIERS)
    search: dict[str, Any] = Field(default_factory=dict)
    gate: dict[str, Any] = Field(default_factory=dict)
    routing: _RoutingTable | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        bad = [name for name in self.tiers if not NAME.fullmatch(name)]
        if bad:
            msg = f"{bad[0]!r} cannot name a tier: use letters, digits, - and _"
            raise ValueError(msg)
        wanted = [self.routing.default, *self.routing.values.values()] if self.routing else []
        unknown = [tier for tier in wanted if tier not in self.tiers]
        if unknown:
            msg = f"routing leads to a tier {unknown[0]!r} that is not declared"
            raise ValueError(msg)
        if self.routing is None and len(self.tiers) > 1:
            msg = "several tiers need a table [routing]: flag, values and default"
            raise ValueError(msg)
        return self

    def make_routing(self) -> Routing:
        """Return the declared routing; without one, all users get the only tier."""
        if self.routing is None:
            return Routing(flag="", values={}, default=next(iter(self.tiers)))
        return Routing(**self.routing.model_dump())


def load(path: Path) -> Mapping[str, Tier]:
    """Read the declared tiers, by name; see `declaration`."""
    return declaration(path).tiers


def declaration(path: Path) -> Declaration:
    """Read the declared tiers and their routing.

    Args:
        path: The declaration, or the folder that holds it as `tiers.toml`.

    Raises:
        SettingsError: It is missing or invalid.
    """
    path = (path / FILE_NAME if path.is_dir() else path).absolute()
    try:
        declared = _TiersFile.model_validate(_parse(path))
        found = {
            name: _make_tier(name, table, declared, path.parent) for name, table in declared.tiers.items()
        }
        return Declaration(tiers=found, routing=declared.make_routing())
    except ValidationError as error:
        msg = f"{path}: {jobs.describe(error)}"
        raise errors.SettingsError(msg) from None


def find(declared: Mapping[str, Tier], name: str) -> Tier:
    """Return a declared tier, or raise UnknownTierError."""
    if name not in declared:
        msg = f"no tier {name!r} is declared; there are: {', '.join(declared)}"
        raise errors.UnknownTierError(msg)
    return declared[name]


def _parse(path: Path) -> dict[str, Any]:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_CHARS + 1)
        if len(text) > MAX_CHARS:
            msg = f"{path}: has more than {MAX_CHARS:,} characters"
            raise errors.SettingsError(msg)
        return tomllib.loads(text)
    except FileNotFoundError:
        msg = f"{path}: there is no such file; it declares the tiers (set POINTSMAN_DATA_DIR to its folder)"
        raise errors.SettingsError(msg) from None
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise errors.SettingsError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{path}: is not UTF-8 (byte {error.start}); save it as UTF-8"
        raise errors.SettingsError(msg) from None
    except (ValueError, RecursionError) as error:
        sound = isinstance(error, tomllib.TOMLDecodeError)
        why = error if sound else "it is nested too deeply, or a number has too many digits"
        msg = f"{path}: is not TOML: {why}"
        raise errors.SettingsError(msg) from None


def _make_tier(name: str, table: _TierTable, declared: _TiersFile, root: Path) -> Tier:
    gate = GateOptions.model_validate({**declared.gate, **table.gate})
    unknown = [intent for intent in table.gate.get("recall_floors", {}) if intent not in table.intents]
    if unknown:
        msg = f"{root / FILE_NAME}: the gate of tier {name!r} names an intent {unknown[0]!r} that is not declared"
        raise errors.SettingsError(msg)
    return Tier(
        name=name,
        intents=table.intents,
        datasets=tuple(root / file for file in table.datasets),
        out_of_scope=tuple(root / file for file in table.out_of_scope),
        golden=root / table.golden if table.golden else None,
        on_conflict=table.on_conflict,
        out_of_scope_labels=table.out_of_scope_labels,
        search=SearchSpace.model_validate({**declared.search, **table.search}),
        gate=gate,
        root=root,
    )
