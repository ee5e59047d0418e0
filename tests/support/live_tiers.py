"""The tiers base and pro in a folder of their own, small enough to be trained in a second."""

import json
from pathlib import Path
from typing import Final

from pointsman_shared import names
from tests.support import tier_files, tiny

ROUTING: Final = """[routing]
flag = "proModel"
values = { true = "pro", false = "base" }
default = "base"
"""
GATE: Final = "[gate]\nmargin = 0.9\n"
# Fits enough to be watched, and to be cancelled.
SLOW: Final = f"""
[search]
folds = 10
features = [{{ words = [1, 2], characters = [1, 8] }}]
classifiers = {json.dumps(4 * [{"kind": "LogisticRegression", "c": [each / 10 for each in range(1, 50)]}])}
""".replace('": ', '" = ')


def write(folder: Path, *, gate: str = GATE, search: str = tier_files.SEARCH) -> Path:
    """Declare both tiers in a folder and give it."""
    folder.mkdir(parents=True, exist_ok=True)
    outside = [(text, "none") for text in tier_files.texts(names.OUT_OF_SCOPE)]
    tier_files.write_lines(folder / "unknown.jsonl", outside)
    golden = [("hello there", "greeting"), ("bye now", "goodbye")]
    tier_files.write_lines(folder / "golden.jsonl", golden)
    tables = [
        table(folder, tier, intents)
        for tier, intents in (("base", tiny.BASE_INTENTS), ("pro", tiny.PRO_INTENTS))
    ]
    (folder / "tiers.toml").write_text("\n".join([ROUTING, *tables, gate, search]), encoding="utf-8")
    return folder


def table(folder: Path, tier: str, intents: tuple[str, ...]) -> str:
    """Write a tier's data and give its declaration."""
    rows = [(text, intent) for intent in intents for text in tier_files.texts(intent)]
    tier_files.write_lines(folder / f"{tier}.jsonl", rows)
    return (
        f"[tiers.{tier}]\nintents = {json.dumps(list(intents))}\n"
        f'datasets = ["{tier}.jsonl"]\nout_of_scope = ["unknown.jsonl"]\ngolden = "golden.jsonl"\n'
    )
