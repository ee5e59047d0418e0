"""Tables of rows: in a file as JSON lines, CSV or Parquet, and in a terminal.

pyarrow is loaded for Parquet only.
"""

import contextlib
import csv
import operator
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

from rich.markup import escape
from rich.table import Table as TerminalTable
from rich.text import Text

from pointsman_producer.files import writers
from pointsman_producer.files.writers import Row
from pointsman_shared.data_files.cells import guard

PARQUET_ROWS = 10_000
GAP = 2
SEPARATOR = " > "
SHARE = re.compile(r"[\d.,]+%")
# The columns whose ids one copies.
UNBROKEN = {"id", "job"}
# Several scripts, and emoji, need them within words.
JOINERS = "\u200c\u200d"

Kind = Literal["text", "integer", "number", "flag", "texts", "ranking"]
"""The type of a column."""


Write = Callable[[Row], object]
"""Adds a row to a file."""


@contextlib.contextmanager
def writing(
    path: Path, chosen: writers.Format, columns: Mapping[str, Kind], *, ranks: int = 0, raw: bool = False
) -> Iterator[Write]:
    """Open a file for writing rows; an existing file is overwritten.

    `columns` are those of the tabular formats; JSON lines take rows as they are. `ranks` is the length of the longest
    ranking, each entry of which takes two columns in CSV. With `raw`, CSV has texts as they are, even those that a
    spreadsheet takes for formulas.
    """
    if chosen == "jsonl":
        with writers.json_lines(path) as write:
            yield write
    elif chosen == "csv":
        with path.open("w", encoding="utf-8", newline="", buffering=writers.BUFFER_BYTES) as file:
            yield _csv_rows(file, columns, ranks, raw=raw)
    else:
        with _parquet_rows(path, columns) as write:
            yield write


def _csv_rows(file: IO[str], columns: Mapping[str, Kind], ranks: int, *, raw: bool) -> Write:
    """Write CSV as in RFC 4180."""
    plain = [name for name, kind in columns.items() if kind != "ranking"]
    lists = [name for name, kind in columns.items() if kind == "texts"]
    ranked = [f"ranking_{rank}_{part}" for rank in range(1, ranks + 1) for part in ("intent", "confidence")]
    plain_of = operator.itemgetter(*plain)
    writer = csv.writer(file)
    writer.writerow([*plain, *ranked])

    def write(row: Row) -> None:
        for name in lists:
            row[name] = SEPARATOR.join(row[name])
        cells = list(plain_of(row))
        if ranked:
            cells += [cell for one in row["ranking"] for cell in (one["intent"], one["confidence"])]
            cells += [None] * (len(plain) + len(ranked) - len(cells))
        writer.writerow(cells if raw else map(guard, cells))

    return write


@contextlib.contextmanager
def _parquet_rows(path: Path, columns: Mapping[str, Kind]) -> Iterator[Write]:
    """Write Parquet, in row groups of `PARQUET_ROWS`."""
    # Loaded here because it is an extra, and loading takes longer than a small batch.
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    types: dict[Kind, Any] = {
        "text": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "flag": pa.bool_(),
        "texts": pa.list_(pa.string()),
        "ranking": pa.list_(pa.struct({"intent": pa.string(), "confidence": pa.float64()})),
    }
    schema = pa.schema({name: types[kind] for name, kind in columns.items()})
    rows: list[Row] = []
    with parquet.ParquetWriter(path, schema) as writer:

        def flush() -> None:
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))
            rows.clear()

        def write(row: Row) -> None:
            rows.append(row)
            if len(rows) >= PARQUET_ROWS:
                flush()

        yield write
        if rows:
            flush()


def table(
    rows: Iterable[Sequence[object]], columns: Sequence[str], *, right: Collection[str] = ()
) -> TerminalTable:
    """Make a table for a terminal: None is empty, a rich `Text` keeps its style, and long ids are never cut."""
    made = TerminalTable(box=None, pad_edge=False, header_style="dim")
    listed = list(rows)
    for place, heading in enumerate(columns):
        first = listed[0][place] if listed and place < len(listed[0]) else ""
        is_right = isinstance(first, int | float) or SHARE.fullmatch(str(first)) or heading in right
        made.add_column(
            escape(printable(heading)),
            justify="right" if is_right else "left",
            no_wrap=heading in UNBROKEN,
            overflow="fold",
        )
    for row in listed:
        made.add_row(*map(cell, row))
    return made


def spans(rows: Iterable[Sequence[object]], columns: Iterable[str]) -> list[tuple[int, int]]:
    """Return the longest word and the longest text of each column."""
    lines = [list(columns), *([str(cell(value)) for value in row] for row in rows)]
    return [
        (max(len(word) for text in column for word in (*text.split(), "")), max(map(len, column)))
        for column in zip(*lines, strict=True)
    ]


def fit(made: TerminalTable, found: Sequence[tuple[int, int]], width: int) -> bool:
    """Give a table's columns widths that break no word; return whether that is possible."""
    spare = width - sum(word for word, _ in found) - GAP * (len(found) - 1)
    if spare < 0:
        return False
    for column, (word, text) in zip(made.columns, found, strict=True):
        column.width = word + min(text - word, spare)
        spare -= column.width - word
    return True


def cell(value: object) -> str | Text:
    """Write a value for a person, safe for a terminal: texts may come from strangers."""
    if isinstance(value, Text):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
    return "" if value is None else escape(printable(str(value)))


def printable(text: str) -> str:
    """Replace control characters, which could move the cursor, and those that turn the direction of writing."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in JOINERS else " " for char in text)
