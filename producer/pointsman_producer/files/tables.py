"""Tables of rows in every format: JSON lines, CSV, Parquet.

pyarrow is loaded only where Parquet is asked for.
"""

import csv
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from pointsman_producer.files import writers
from pointsman_producer.files.writers import Row

PARQUET_ROWS = 10_000
SEPARATOR = " > "

Kind = Literal["text", "integer", "number", "flag", "texts", "ranking"]
"""What a column holds."""


class Table(Protocol):
    """A file being written row by row."""

    def write(self, row: Row) -> None:
        """Add a row."""

    def close(self) -> None:
        """Write what is still held, and close the file."""


def open_table(path: Path, chosen: writers.Format, columns: Mapping[str, Kind], *, ranks: int = 0) -> Table:
    """Begin a file.

    Args:
        path: Where it is to be; what is there is overwritten.
        chosen: Its format.
        columns: The columns of the tabular formats; JSON lines take rows as they are.
        ranks: How many entries the longest ranking has: in CSV each is two columns.
    """
    if chosen == "jsonl":
        return writers.JsonLinesTable(path)
    return CsvTable(path, columns, ranks) if chosen == "csv" else ParquetTable(path, columns)


class CsvTable:
    """CSV as RFC 4180 has it; every value stands as it is, whatever a spreadsheet would make of it."""

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
        # Loaded here because it is an extra, and takes longer to load than a small batch to run.
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
