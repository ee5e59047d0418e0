"""Writing files: the format by the ending, JSON lines, and each file in its place only when it is whole."""

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import orjson

from pointsman_shared import errors

Format = Literal["jsonl", "csv", "parquet"]
FORMATS: Mapping[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
BUFFER_BYTES = 1024 * 1024

Row = dict[str, Any]


def format_of(path: Path) -> Format:
    """Choose the format by a file's ending.

    Raises:
        InvalidDataError: The ending says nothing, or Parquet is asked for and cannot be written here.
    """
    chosen = FORMATS.get(path.suffix.lower())
    if chosen is None:
        msg = f"{path} has to end in one of {', '.join(FORMATS)}: the ending chooses the format"
        raise errors.InvalidDataError(msg)
    if chosen == "parquet" and importlib.util.find_spec("pyarrow") is None:
        msg = "writing Parquet needs pyarrow: pip install 'pointsman[parquet]'"
        raise errors.InvalidDataError(msg)
    return chosen


class JsonLinesTable:
    """One JSON object a line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=BUFFER_BYTES)

    def write(self, row: Row) -> None:
        """Add a row."""
        self._file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def staged(path: Path) -> Path:
    """Name the file that becomes `path` when it is whole."""
    return path.with_name(path.name + ".new.partial")


def publish(finished: Path, path: Path) -> None:
    """Put a finished file where it belongs: all of it is there, also after a power cut, or none of it."""
    _sync(finished)
    finished.replace(path)
    _sync(path.parent)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give the file to write instead of `path`, and put it in its place when it is whole.

    Raises:
        InvalidDataError: It cannot be written there.
    """
    new = staged(path)
    try:
        yield new
        publish(new, path)
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror}"
        raise errors.InvalidDataError(msg) from error
    finally:
        new.unlink(missing_ok=True)


def require_free(path: Path, *, force: bool) -> None:
    """Check that nothing would be overwritten that nobody said may be.

    Raises:
        InvalidDataError: There is such a file.
    """
    if path.exists() and not force:
        msg = f"{path} exists: --force replaces it"
        raise errors.InvalidDataError(msg)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
