"""Small tiers on disk: a declaration, data and golden utterances, trained in a second."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Final

from pointsman_models.data import tiers
from pointsman_shared import names

_PARTS: Final[Mapping[str, tuple[Sequence[str], Sequence[str]]]] = {
    "greeting": (
        ("hi", "hello", "hey", "good morning"),
        ("", "there", "team", "everybody", "friend", "again"),
    ),
    "goodbye": (
        ("bye", "see you", "take care", "good night"),
        ("", "now", "then", "later", "for today", "tomorrow"),
    ),
    "business_hours": (
        ("when do you open", "are you open", "closing time", "opening hours"),
        ("", "on sunday", "today", "at the weekend", "in the evening", "on holidays"),
    ),
    "payment_methods": (
        ("can i pay", "do you take", "is it fine to pay", "do you accept"),
        ("by card", "paypal", "cash", "visa", "cheques", "google pay"),
    ),
    names.OUT_OF_SCOPE: (
        ("where is my", "please cancel my", "i lost my", "how heavy is my"),
        ("parcel", "password", "refund", "suitcase", "booking", "umbrella"),
    ),
}
SEARCH: Final = """
[search]
folds = 2
features = [{ words = [1, 2] }, { words = [1, 1], characters = [2, 4], sublinear = true }]
classifiers = [{ kind = "LinearSVC", c = [0.3, 1.0] }]
"""
# One fit, for tests that look at what comes after it.
ONE_FIT: Final = """
[search]
folds = 2
features = [{ words = [1, 1], characters = [2, 4], sublinear = true }]
classifiers = [{ kind = "LinearSVC", c = [1.0] }]
"""


def texts(intent: str) -> list[str]:
    """Give two dozen texts of an intent."""
    beginnings, ends = _PARTS[intent]
    return [f"{beginning} {end}".strip() for beginning, end in product(beginnings, ends)]


def write_lines(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    """Write utterances as JSON lines."""
    path.write_text(
        "".join(json.dumps({"text": text, "intent": intent}) + "\n" for text, intent in rows),
        encoding="utf-8",
    )


def small_tier(
    folder: Path,
    intents: Sequence[str] = ("greeting", "goodbye", "business_hours"),
    *,
    golden: Sequence[tuple[str, str]] = (
        ("hello there", "greeting"),
        ("where is my parcel", names.OUT_OF_SCOPE),
    ),
    out_of_scope: bool = True,
    search: str = SEARCH,
) -> tiers.Tier:
    """Declare a tier `small` in a folder, with its files, and load it."""
    write_lines(folder / "known.jsonl", [(text, intent) for intent in intents for text in texts(intent)])
    write_lines(folder / "unknown.jsonl", [(text, "unlabelled") for text in texts(names.OUT_OF_SCOPE)])
    write_lines(folder / "golden.jsonl", golden)
    unknown = '["unknown.jsonl"]' if out_of_scope else "[]"
    declaration = f"""
[tiers.small]
intents = {json.dumps(list(intents))}
datasets = ["known.jsonl"]
out_of_scope = {unknown}
golden = "golden.jsonl"
"""
    (folder / tiers.FILE_NAME).write_text(declaration + search, encoding="utf-8")
    return tiers.load(folder)["small"]
