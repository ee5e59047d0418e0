"""The journal of a batch: its outcomes in the order of the input, until all are there.

What the journal belongs to stands in a file beside it: kept out of the journal, it lets that become the output by
a change of name, with no second copy of a large file. The two cannot disagree unnoticed, because every outcome
names its batch.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

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
    """What a journal belongs to, all of which must be the same for it to be continued."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    journal: Literal[1] = 1
    batch: jobs.Identifier
    input: str
    size: int | None
    sha256: str | None
    """Of the first and the last MiB of the input."""
    speakers: list[str]
    include_text: bool
    texts_per_message: int = Field(ge=1, le=jobs.MAX_TEXTS)

    @classmethod
    def parse(cls, content: bytes, path: Path) -> Self:
        """Read a header.

        Raises:
            InvalidDataError: The file is not one.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            msg = f"{path} is not the header of a batch: {jobs.describe(error)}"
            raise errors.InvalidDataError(msg) from None

    def misfits(self, asked: "Header") -> Iterator[str]:
        """Say in what a new request differs from what this journal was begun for."""
        if (self.size, self.sha256) != (asked.size, asked.sha256):
            yield f"{asked.input} is not, or no longer, the file it was begun with ({self.input})"
        if self.speakers != asked.speakers:
            yield f"it was begun for the speakers {', '.join(self.speakers)}, not {', '.join(asked.speakers)}"
        if self.include_text != asked.include_text:
            yield f"it was begun {'with' if self.include_text else 'without'} the texts"


class Journal:
    """The outcomes written so far, and in a file beside them what they belong to. Held by one run at a time.

    First it is read (`replay`) until it gives out, which cuts off what a kill left half written; then rows are
    appended.
    """

    def __init__(self, path: Path, header_path: Path) -> None:
        self.path = path
        self._header_path = header_path
        self.is_new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._file = os.fdopen(descriptor, "r+b", buffering=writers.BUFFER_BYTES)
        self._lock()
        self._end = 0
        self._replayed = False
        self._disposable = False

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            free = False
        else:
            # The run that held it may have finished, and removed it, a moment ago.
            free = self._is_in_place()
        if not free:
            self._file.close()
            msg = f"another run is writing {self.path}"
            raise errors.BusyError(msg)

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return False

    @property
    def is_empty(self) -> bool:
        """Say whether there is not a byte in it."""
        return os.fstat(self._file.fileno()).st_size == 0

    def read_header(self) -> bytes | None:
        """Read what the outcomes belong to; None where nothing was begun."""
        try:
            return self._header_path.read_bytes()
        except FileNotFoundError:
            return None

    def begin(self, header: bytes) -> None:
        """Start over with a header and no rows."""
        self._file.truncate(0)
        new = writers.staged(self._header_path)
        new.write_bytes(header)
        writers.publish(new, self._header_path)
        self._replayed = self._disposable = True

    def keep(self) -> None:
        """Have it stay when it is closed, even without rows: messages bear its batch's id from now on."""
        self._disposable = False

    def replay(self, limit: int) -> list[Row]:
        """Give the next rows of an earlier run; fewer than `limit` when there are no more."""
        rows: list[Row] = []
        while len(rows) < limit and (row := self._next_row()) is not None:
            rows.append(row)
        return rows

    def _next_row(self) -> Row | None:
        if self._replayed:
            return None
        line = self._file.readline()
        try:
            row: Row = orjson.loads(line)
        except orjson.JSONDecodeError:
            row = {}
        if not row or not line.endswith(b"\n"):
            self._cut()
            return None
        self._end += len(line)
        return row

    def _cut(self) -> None:
        self._file.seek(self._end)
        self._file.truncate()
        self._replayed = True

    def append(self, lines: Sequence[bytes]) -> None:
        """Add rows."""
        self._disposable = False
        self._file.write(b"".join(lines))
        self._file.flush()

    def sync(self) -> None:
        """Make what was appended survive a power cut."""
        os.fsync(self._file.fileno())

    def publish_as(self, path: Path, columns: Mapping[str, Kind], *, ranks: int) -> None:
        """Make the rows a file of their own, in the format of its ending, and end the journal.

        As JSON lines that is a change of name, whatever the size.
        """
        chosen = writers.format_of(path)
        if chosen == "jsonl":
            writers.publish(self.path, path)
        else:
            self._convert(writers.staged(path), chosen, columns, ranks)
            writers.publish(writers.staged(path), path)
        self.remove()

    def _convert(self, path: Path, chosen: writers.Format, columns: Mapping[str, Kind], ranks: int) -> None:
        self._file.seek(0)
        try:
            with contextlib.closing(tables.open_table(path, chosen, columns, ranks=ranks)) as table:
                for line in self._file:
                    table.write(outcome_rows.flat_outcome(orjson.loads(line)))
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def remove(self) -> None:
        """Delete what is still there: it has served."""
        self.path.unlink(missing_ok=True)
        self._header_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let another run have it, if it is worth going on with."""
        if self._disposable:
            self.remove()
        self._file.close()


def digest(path: Path, size: int) -> str:
    """Give a digest of the first and the last MiB of a file."""
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(SAMPLE_BYTES))
        file.seek(max(0, size - SAMPLE_BYTES))
        digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()


def open_journal(
    path: Path, header_path: Path, asked: Header, *, resume: bool, batch_id: str | None
) -> tuple[Journal, Header]:
    """Open a journal and give what it belongs to: an earlier run's header where it is gone on with.

    Args:
        path: The journal.
        header_path: What it belongs to.
        asked: What this run wants it to belong to.
        resume: Whether to go on with what is there, if anything is.
        batch_id: The batch it has to be; None for whichever it is.

    Raises:
        BusyError: Another run holds it.
        InvalidDataError: It cannot be gone on with for what is asked.
    """
    journal = Journal(path, header_path)
    try:
        stored = _stored_header(journal, header_path) if resume else None
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
    """Read what an earlier run began; None if there is nothing of it."""
    if journal.is_new:
        return None
    content = journal.read_header()
    if content is not None:
        return Header.parse(content, header_path)
    if journal.is_empty:
        return None
    msg = f"{journal.path} cannot be resumed: {header_path} is gone; --force begins anew"
    raise errors.InvalidDataError(msg)
