"""Transcript files for tests, and what is read of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pointsman_producer.transcripts import reader as transcript_reader
from pointsman_producer.transcripts.reader import Conversation, Rejection


def read(path: Path | str, *speakers: str) -> tuple[list[Conversation], list[Rejection]]:
    rejected: list[Rejection] = []
    with transcript_reader.Reader(path, speakers=speakers or ("customer",), reject=rejected.append) as reader:
        return list(reader), rejected


def read_lines(
    folder: Path, *lines: object, name: str = "in.jsonl", speakers: Sequence[str] = ("customer",)
) -> Any:
    path = folder / name
    text = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return read(path, *speakers)


def reasons(rejected: list[Rejection]) -> list[tuple[int, str]]:
    return [(rejection.line, rejection.reason) for rejection in rejected]
