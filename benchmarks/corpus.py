"""The texts of the benchmarks: real customer turns where they are at hand, else the shipped samples."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "data" / "transcripts" / "star_first2000.jsonl"
CLINC = ROOT.parent / "shared" / "data" / "clinc150"
SHIPPED = ROOT / "data" / "transcripts.jsonl"


def source() -> Path:
    """Say which file the texts come from."""
    return REAL if REAL.exists() else SHIPPED


def turns() -> list[str]:
    """Give the customer turns, in their order and with the repetitions that real chat has."""
    with source().open(encoding="utf-8") as lines:
        conversations = [json.loads(line) for line in lines]
    return [turn["text"] for chat in conversations for turn in chat["turns"] if turn["speaker"] == "customer"]


def texts(count: int) -> list[str]:
    """Give so many texts, going round the turns as often as needed."""
    once = turns()
    return (once * (count // len(once) + 1))[:count]
