"""The journal of a batch: its outcomes in the order of the input, until all are there.

A header file beside the journal describes the batch. Without a header in it, the journal becomes the output by a
rename, with no second copy of a large file. The two files cannot disagree unnoticed, because each outcome names its
batch.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pointsman_producer.batch import outcome_rows
from pointsman_producer.files import tables, writers
from pointsman_producer.files.tables import Kind
from pointsman_producer.files.writers import Row
from pointsman_shared import errors
from pointsman_shared.wire import jobs

SAMPLE_BYTES = 1024 * 1024


class Header(BaseModel):
    """The batch of a journal; `sha256` is of the first and the last MiB of the input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    journal: Literal[1] = 1
    batch: jobs.Identifier
    input: str
    size: int | None
    sha256: str | None
    speakers: list[str]
    include_text: bool
    ranking: int = Field(default=5, ge=1, le=jobs.MAX_RANKING)
    """Batches of releases up to 0.1 have five."""
    texts_per_message: int = Field(ge=1, le=jobs.MAX_TEXTS)

    def misfits(self, asked: "Header") -> Iterator[str]:
        """Name the differences between this batch and a new request."""
        if (self.size, self.sha256) != (asked.size, asked.sha256):
            yield f"{asked.input} is not, or no longer, the file it was started with ({self.input})"
        if self.speakers != asked.speakers:
            yield f"it was started for the speakers {', '.join(self.speakers)}, not {', '.join(asked.speakers)}"
        if self.include_text != asked.include_text:
            yield f"it was started {'with' if self.include_text else 'without'} the texts"
        if self.ranking != asked.ranking:
            yield f"it was started with rankings of {self.ranking}, not of {asked.ranking}"


class Journal:
    """The outcomes that were written so far. One run at a time holds it.

    A run first replays the rows of the earlier run, which cuts off a torn last row, and then appends its own.
    """

    def __init__(self, path: Path, header_path: Path) -> None:
        self.path = path
        self._header_path = header_path
        self.is_new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._file = os.fdopen(descriptor, "r+b", buffering=writers.BUFFER_BYTES)
        if not self._lock():
            self._file.close()
            msg = f"another run is writing {self.path}"
            raise errors.BusyError(msg)
        self._end = 0
        self._replayed = False
        self._disposable = False

    def _lock(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        # The run that held it may have finished, and removed it, a moment ago.
        return self._is_there()

    def _is_there(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(self.path.stat(), os.fstat(self._file.fileno()))
        return False

    def begin(self, header: bytes) -> None:
        """Start over with a header and no rows."""
        self._file.truncate(0)
        new = writers.staged(self._header_path)
        new.write_bytes(header)
        writers.publish(new, self._header_path)
        self._replayed = self._disposable = True

    def keep(self) -> None:
        """Keep it when it is closed, even without rows: there are messages of its batch now."""
        self._disposable = False

    def replay(self, limit: int) -> list[Row]:
        """Return the next rows of the earlier run; fewer than `limit` at their end."""
        rows: list[Row] = []
        while not self._replayed and len(rows) < limit:
            line = self._file.readline()
            with contextlib.suppress(orjson.JSONDecodeError):
                row: Row = orjson.loads(line)
                if row and line.endswith(b"\n"):
                    self._end += len(line)
                    rows.append(row)
                    continue
            # The torn last row.
            self._file.seek(self._end)
            self._file.truncate()
            self._replayed = True
        return rows

    def append(self, lines: Sequence[bytes]) -> None:
        """Add rows; raise InvalidDataError if the file was deleted, for then they would be lost at the end."""
        if not self._is_there():
            msg = f"{self.path} was deleted or replaced while it was written"
            raise errors.InvalidDataError(msg, errors.Remedy.START_OVER)
        self._disposable = False
        self._file.write(b"".join(lines))
        self._file.flush()

    def sync(self) -> None:
        """Make the rows survive a power cut."""
        os.fsync(self._file.fileno())

    def publish_as(self, path: Path, columns: Mapping[str, Kind], *, ranks: int, raw: bool = False) -> None:
        """Make the rows the output, in the format of its ending, and remove the journal; JSON lines are renamed."""
        chosen, finished = writers.format_of(path), self.path
        try:
            if chosen != "jsonl":
                finished = writers.staged(path)
                self._file.seek(0)
                with tables.writing(finished, chosen, columns, ranks=ranks, raw=raw) as write:
                    for line in self._file:
                        write(outcome_rows.flat_outcome(orjson.loads(line)))
            writers.publish(finished, path)
        finally:
            writers.staged(path).unlink(missing_ok=True)
        self.remove()

    def remove(self) -> None:
        """Delete the journal and its header."""
        self.path.unlink(missing_ok=True)
        self._header_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Leave it to another run; remove it if there is nothing to resume."""
        if self._disposable:
            self.remove()
        self._file.close()


def digest(path: Path, size: int) -> str:
    """Compute a digest of the first and the last MiB of a file."""
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(SAMPLE_BYTES))
        file.seek(max(0, size - SAMPLE_BYTES))
        digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()


def open_journal(
    path: Path, header_path: Path, asked: Header, *, resume: bool, batch_id: str | None
) -> tuple[Journal, Header]:
    """Open a journal and return its header, which is the earlier run's if that is resumed."""
    journal = Journal(path, header_path)
    try:
        stored = _stored_header(journal, header_path) if resume and not journal.is_new else None
        if stored is None:
            journal.begin(asked.model_dump_json().encode() + b"\n")
            return journal, asked
        faults = list(stored.misfits(asked))
        if batch_id not in {None, stored.batch}:
            faults.append(f"its batch is {stored.batch}")
        if faults:
            msg = f"{path} cannot be resumed: {'; '.join(faults)}"
            raise errors.InvalidDataError(msg)
    except errors.PointsmanError:
        journal.close()
        raise
    return journal, stored


def _stored_header(journal: Journal, header_path: Path) -> Header | None:
    if not header_path.exists():
        if journal.path.stat().st_size == 0:
            return None
        msg = f"{journal.path} cannot be resumed: {header_path} is gone"
        raise errors.InvalidDataError(msg, errors.Remedy.START_OVER)
    try:
        return Header.model_validate_json(header_path.read_bytes())
    except ValidationError as error:
        msg = f"{header_path} is not the header of a batch: {jobs.describe(error)}"
        raise errors.InvalidDataError(msg) from None
