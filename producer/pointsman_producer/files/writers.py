"""Write files: the ending chooses the format, and a file appears under its name only when it is whole."""

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import orjson

from pointsman_shared import errors

Format = Literal["jsonl", "csv", "parquet"]
FORMATS: Mapping[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
BUFFER_BYTES = 1024 * 1024

Row = dict[str, Any]


def format_of(path: Path) -> Format:
    """Return the format of a file's ending (`InvalidDataError`, also for Parquet without pyarrow)."""
    chosen = FORMATS.get(path.suffix.lower())
    if chosen is None:
        msg = f"{path} has to end in one of {', '.join(FORMATS)}: the ending chooses the format"
        raise errors.InvalidDataError(msg)
    if chosen == "parquet" and importlib.util.find_spec("pyarrow") is None:
        msg = "writing Parquet needs pyarrow: pip install 'pointsman[parquet]'"
        raise errors.InvalidDataError(msg)
    return chosen


@contextlib.contextmanager
def json_lines(path: Path) -> Iterator[Callable[[Row], object]]:
    """Open a file for writing rows, each as one line of JSON."""
    with path.open("wb", buffering=BUFFER_BYTES) as file:
        yield lambda row: file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def staged(path: Path) -> Path:
    """Return the name of the file that becomes `path` when it is whole."""
    return path.with_name(path.name + ".new.partial")


def publish(finished: Path, path: Path) -> None:
    """Move a finished file to its name: even after a power cut all of it is there, or none of it."""
    _sync(finished)
    finished.replace(path)
    _sync(path.parent)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield the file to write, and move it to `path` when it is whole (`InvalidDataError`)."""
    new = staged(path)
    try:
        yield new
        publish(new, path)
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror}"
        raise errors.InvalidDataError(msg) from error
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


def require_free(path: Path, *, force: bool) -> None:
    """Refuse to overwrite a file without `force` (`InvalidDataError`)."""
    if path.exists() and not force:
        msg = f"{path} exists"
        raise errors.InvalidDataError(msg, errors.Remedy.OVERWRITE)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
