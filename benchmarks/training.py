"""What a whole training takes: time and memory, by the number of rows.

The rows are made of the utterances of CLINC150's banking and credit cards (30 intents) and of its out-of-scope ones: in each, two
words are replaced by others of the same data, so that all texts differ. The tier's search is the shipped one.
"""

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import corpus

DOMAINS = ("banking", "credit_cards")
ROWS = (5_000, 50_000, 500_000)
REPLACED_WORDS = 2
# Trains in a process of its own, and prints its seconds, those of the processor, and its peak memory in KiB.
_TRAIN = """
import resource, sys, time
from pathlib import Path
from pointsman_models.data import tiers
from pointsman_models.promotion import training_run
from pointsman_models.registry.versions import Registry
folder, began, at = Path(sys.argv[1]), time.monotonic(), {}
def note(stage, fraction):
    at.setdefault(stage, round(time.monotonic() - began, 1))
tier = tiers.declaration(folder / "tiers.toml").tiers["large"]
done = training_run.train(tier, Registry(str(folder / "registry")), progress=note)
used = resource.getrusage(resource.RUSAGE_SELF)
print(time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss, done.metrics["macro_f1"], done.pipeline, at, sep="|")
"""


def run(_: Path) -> None:
    """Print the table."""
    print("\nA whole training, near copies, search, calibration and gate included")
    if not corpus.CLINC.exists():
        print(f"  skipped: {corpus.CLINC} is not there")
        return
    for rows in ROWS:
        with tempfile.TemporaryDirectory() as folder:
            _declare(Path(folder), rows)
            done = subprocess.run(
                [sys.executable, "-c", _TRAIN, folder], check=True, capture_output=True, text=True
            )
        seconds, processor, peak, macro_f1, pipeline, stages = done.stdout.strip().split("|")
        print(
            f"  {rows:>9,} rows {float(seconds):9.1f} s ({float(processor):.1f} s of processor) {int(peak) / 1024:9.0f} MiB  macro-F1 {float(macro_f1):.3f}"
            f"  {pipeline}; stages began at {stages}"
        )


def _declare(folder: Path, rows: int) -> None:
    """Write a tier and its data."""
    made = list(_rows(rows))
    intents = sorted({row["intent"] for row in made} - {"oos"})
    for name, wanted in (("in_scope", True), ("out_of_scope", False)):
        lines = [json.dumps(row) for row in made if (row["intent"] != "oos") is wanted]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    firsts = {row["intent"]: row for row in reversed(made) if row["intent"] != "oos"}
    golden = [json.dumps(row) for row in firsts.values()]
    (folder / "golden.jsonl").write_text("\n".join(golden) + "\n", encoding="utf-8")
    shipped = (corpus.ROOT / "data" / "tiers.toml").read_text(encoding="utf-8")
    search = shipped[shipped.index("[search]") :]
    declared = (
        f'[tiers.large]\nintents = {json.dumps(intents)}\ndatasets = ["in_scope.jsonl"]\n'
        'out_of_scope = ["out_of_scope.jsonl"]\ngolden = "golden.jsonl"\n\n'
    )
    (folder / "tiers.toml").write_text(declared + search, encoding="utf-8")


def _rows(count: int) -> Iterator[dict[str, str]]:
    with (corpus.CLINC / "train_val.jsonl").open(encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    originals = [row for row in found if row["domain"] in DOMAINS or row["intent"] in {"oos", "out_of_scope"}]
    chance = random.Random(1)
    words = sorted({word for row in originals for word in row["text"].split()})
    seen: set[str] = set()
    while len(seen) < count:
        row = chance.choice(originals)
        text = row["text"].split()
        for _ in range(REPLACED_WORDS):
            text[chance.randrange(len(text))] = chance.choice(words)
        if (joined := " ".join(text)) not in seen:
            seen.add(joined)
            yield {"text": joined, "intent": "oos" if row["intent"] == "out_of_scope" else row["intent"]}
