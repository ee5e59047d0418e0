"""Write files: the ending chooses the format, and a file appears under its name only when it is whole."""

import contextlib
import errno
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
# These pass when there is room again.
DISK_FULL = {errno.EDQUOT, errno.EIO, errno.ENOSPC}

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
def explained(path: Path | None = None) -> Iterator[None]:
    """Turn what a path, or a full disk, refuses into an error of ours that names the file that is written, if known."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno not in {*DISK_FULL, errno.EFBIG}:
            raise
        what = f"{path} cannot be written" if path else error.filename or "the output"
        kind = errors.UnavailableError if error.errno in DISK_FULL else errors.InvalidDataError
        msg = f"{what}: {error.strerror}"
        raise kind(msg) from error


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield the file to write, and move it to `path` when it is whole (`InvalidDataError`)."""
    new = staged(path)
    try:
        with explained(path):
            yield new
            publish(new, path)
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


def require_folder(path: Path) -> None:
    """Refuse a file in a folder that is not there, before any work is done for it (`InvalidDataError`)."""
    if not path.parent.is_dir():
        msg = f"{path.parent} is not a folder: {path.name} cannot be written there"
        raise errors.InvalidDataError(msg)


def require_free(path: Path, *, force: bool) -> None:
    """Refuse to overwrite a file without `force`, or anything but a file (`InvalidDataError`)."""
    require_folder(path)
    if path.exists() and not path.is_file():
        msg = f"{path} is not a regular file"
        raise errors.InvalidDataError(msg)
    if path.exists() and not force:
        msg = f"{path} exists"
        raise errors.InvalidDataError(msg, errors.Remedy.OVERWRITE)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
