"""Tables of rows: in a file as JSON lines, CSV or Parquet, and in a terminal.

pyarrow is loaded for Parquet only.
"""

import csv
import operator
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from rich.markup import escape
from rich.table import Table as TerminalTable
from rich.text import Text

from pointsman_producer.files import writers
from pointsman_producer.files.writers import Row

PARQUET_ROWS = 10_000
SEPARATOR = " > "
SHARE = re.compile(r"[\d.,]+%")
# The columns whose ids one copies.
UNBROKEN = {"id", "job"}

Kind = Literal["text", "integer", "number", "flag", "texts", "ranking"]
"""The type of a column."""


class Table(Protocol):
    """A file that is written row by row."""

    def write(self, row: Row) -> None:
        """Add a row."""

    def close(self) -> None:
        """Write the last rows, and close the file."""


def open_table(path: Path, chosen: writers.Format, columns: Mapping[str, Kind], *, ranks: int = 0) -> Table:
    """Open a file for writing; an existing file is overwritten.

    `columns` are those of the tabular formats; JSON lines take rows as they are. `ranks` is the length of the longest
    ranking, each entry of which takes two columns in CSV.
    """
    if chosen == "jsonl":
        return writers.JsonLinesTable(path)
    return CsvTable(path, columns, ranks) if chosen == "csv" else ParquetTable(path, columns)


class CsvTable:
    """CSV as in RFC 4180; values are written as they are, even those that a spreadsheet takes for formulas."""

    def __init__(self, path: Path, columns: Mapping[str, Kind], ranks: int) -> None:
        plain = [name for name, kind in columns.items() if kind != "ranking"]
        self._plain = operator.itemgetter(*plain)
        self._texts = [name for name, kind in columns.items() if kind == "texts"]
        self._rank_cells = 2 * ranks
        self._file = path.open("w", encoding="utf-8", newline="", buffering=writers.BUFFER_BYTES)
        self._writer = csv.writer(self._file)
        ranked = [
            f"ranking_{rank}_{part}" for rank in range(1, ranks + 1) for part in ("intent", "confidence")
        ]
        self._writer.writerow([*plain, *ranked])

    def write(self, row: Row) -> None:
        """Add a row."""
        for name in self._texts:
            row[name] = SEPARATOR.join(row[name])
        self._writer.writerow(
            [*self._plain(row), *self._ranked(row)] if self._rank_cells else self._plain(row)
        )

    def _ranked(self, row: Row) -> list[object]:
        cells = [cell for ranked in row["ranking"] for cell in (ranked["intent"], ranked["confidence"])]
        return cells + [None] * (self._rank_cells - len(cells))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ParquetTable:
    """Parquet, in row groups of `PARQUET_ROWS`."""

    def __init__(self, path: Path, columns: Mapping[str, Kind]) -> None:
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
        self._schema = pa.schema({name: types[kind] for name, kind in columns.items()})
        self._make_batch = pa.RecordBatch.from_pylist
        self._writer = parquet.ParquetWriter(path, self._schema)
        self._rows: list[Row] = []

    def write(self, row: Row) -> None:
        """Add a row."""
        self._rows.append(row)
        if len(self._rows) >= PARQUET_ROWS:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_batch(self._make_batch(self._rows, schema=self._schema))
        self._rows.clear()

    def close(self) -> None:
        """Write the last row group and close the file."""
        if self._rows:
            self._flush()
        self._writer.close()


def table(
    rows: Iterable[Sequence[object]],
    columns: Sequence[str],
    *,
    right: Collection[str] = (),
    title: str | None = None,
) -> TerminalTable:
    """Make a table for a terminal: None is empty, a rich `Text` keeps its style, and long ids are never cut.

    Numbers and shares are aligned right, and so are the columns of `right`.
    """
    made = TerminalTable(box=None, pad_edge=False, header_style="dim", title=title, title_justify="left")
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


def cell(value: object) -> str | Text:
    """Write a value for a person, safe for a terminal: texts may come from strangers."""
    if isinstance(value, Text):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
    return "" if value is None else escape(printable(str(value)))


def printable(text: str) -> str:
    """Replace control characters, which could move the cursor, and those that turn the direction of writing."""
    return "".join(char if char.isprintable() else " " for char in text)
