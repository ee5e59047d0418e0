"""The shipped data as it grows and goes bad: declarations of base in one folder, to be put in place one after another."""

import json
import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pointsman_models.data import splits
from pointsman_shared.data_files import utterances
from tests.support import tier_files

DATA: Final = Path(__file__).parents[2] / "data"
INTENTS: Final = ("greeting", "goodbye", "business_hours")
SEARCH: Final = """
[search]
folds = 2
background = [true]
features = [{ words = [1, 2], characters = [2, 5], sublinear = true }]
classifiers = [{ kind = "LinearSVC", c = [1.0] }]
"""
# Of the rows to learn from, one in so many is there at first; the rows to be judged by are all there.
EARLY: Final = 4
# What the broken golden utterances ask for.
WRONG: Final = {"hello": "goodbye", "good morning": "goodbye"}


def write(folder: Path) -> Path:
    """Write the data of all stages and give the folder, without a declaration yet."""
    shutil.copytree(DATA, folder)
    (folder / "tiers.toml").rename(folder / "shipped.toml")
    for intent in INTENTS:
        rows = [(row.text, row.intent) for row in utterances.read(DATA / "utterances" / f"{intent}.jsonl")]
        _write(folder / "early" / f"{intent}.jsonl", _thinned(rows))
        _write(folder / "shuffled" / f"{intent}.jsonl", _shuffled(rows) if intent == "goodbye" else rows)
    golden = (folder / "golden.jsonl").read_text()
    added = [
        json.dumps({"text": text, "intent": intent, "tiers": ["base"]}) for text, intent in WRONG.items()
    ]
    (folder / "broken.jsonl").write_text(golden + "\n".join(added) + "\n")
    return folder


def declare(folder: Path, rows: str, golden: str | None = "golden.jsonl") -> None:
    """Put a declaration in place, in one step: tier base on one folder's rows, with the gate that is shipped."""
    gate = (DATA / "tiers.toml").read_text().partition("[gate]")[2]
    files = json.dumps([f"{rows}/{intent}.jsonl" for intent in INTENTS])
    new = folder / "tiers.toml.new"
    new.write_text(
        f"[tiers.base]\nintents = {json.dumps(INTENTS)}\ndatasets = {files}\n"
        'out_of_scope = ["out_of_scope.jsonl", "utterances/payment_methods.jsonl"]\n'
        + (f'golden = "{golden}"\n' if golden else "")
        + f"{SEARCH}\n[gate]{gate}"
    )
    os.replace(new, folder / "tiers.toml")


def _write(path: Path, rows: Sequence[tuple[str, str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    tier_files.write_lines(path, rows)


def _thinned(rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [row for place, row in enumerate(rows) if splits.part_of(row[0]) == "test" or place % EARLY == 0]


def _shuffled(rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    chooser = random.Random(5)
    return [(text, chooser.choice(INTENTS)) for text, _ in rows]
