"""Reading transcript files: JSON lines, CSV and plain text, plain or gzipped, one conversation at a time.

However large the file, one line and one conversation are held. What cannot be used is handed to the caller with
its line number, and reading goes on behind it. Knows nothing of queues.
"""

import csv
import gzip
import math
import os
import stat
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self, cast

import pydantic_core

from pointsman_shared import errors, jobs

STDIN = "-"
CUSTOMER = "customer"
EVERYBODY = "all"
JSON_ENDINGS = {".jsonl", ".ndjson", ".json"}
GZIP_ENDING = ".gz"

MAX_LINE_BYTES = 16 * 1024 * 1024
# A conversation spread over more lines than this is handed on in pieces, so that a file in which every line
# carries the same id does not end up in memory.
MAX_TURNS = 10_000
# Every outcome of a conversation repeats its id.
MAX_IDENTIFIER_CHARS = 1_000
MAX_QUOTED_CHARS = 100_000
MAX_SPEAKERS_SEEN = 20
MAX_INTEGER = 2**63
USER_FIELDS = tuple(jobs.User.model_fields)

Timestamp = str | int | float | None


class Turn(NamedTuple):
    """What one speaker said. A named tuple because one is built per text: a third of a dataclass's price."""

    place: int
    """Its index in the conversation, counting the turns of every speaker."""
    speaker: str
    text: str
    ts: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One conversation, with the turns of the speakers who were asked for."""

    id: str
    user: jobs.User | None
    turns: tuple[Turn, ...]
    line: int
    """Where it begins in the file; the first line is 1."""

    @property
    def user_id(self) -> str | None:
        """The id of the user; None where nobody is known."""
        return self.user.id if self.user else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A line that cannot be used, and why."""

    line: int
    reason: str
    content: str
    """The line itself, cut to `MAX_QUOTED_CHARS`."""


class _UnusableError(ValueError):
    """What is wrong with one line."""


class _Piece(NamedTuple):
    """A line that holds one turn of a conversation, or, without an id, a conversation of its own."""

    conversation_id: str | None
    speaker: str
    text: str
    ts: Timestamp
    user: jobs.User | None


class Reader:
    """Iterates over the conversations of a file. A context manager.

    Args:
        source: A path, or `-` for JSON lines from standard input. By its ending (before `.gz`) the file is JSON
            lines (.jsonl, .ndjson, .json), CSV (.csv) or plain text, one text a line.
        speakers: Whose turns are wanted, in any case; `all` for everybody's.
        reject: Called with each line that cannot be used.

    Raises:
        InvalidDataError: The file cannot be read at all; also while iterating.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        speakers: Sequence[str] = (CUSTOMER,),
        reject: Callable[[Rejection], None],
    ) -> None:
        self.name = str(source)
        self._reject_line = reject
        self._speakers = frozenset(speaker.casefold() for speaker in speakers)
        self._everybody = EVERYBODY in self._speakers
        self._default_speaker = CUSTOMER if self._everybody else speakers[0]
        self._group = _Group()
        self._users = _LastUser()
        self.speakers_seen: set[str] = set()
        """Some of the speakers who were not asked for."""
        self._raw, self._file, self.size = _open(self.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.name != STDIN:
            self._file.close()
            self._raw.close()

    @property
    def position(self) -> int:
        """How many of the `size` bytes were read; 0 where there is no telling."""
        return self._raw.tell() if self.size is not None else 0

    def __iter__(self) -> Iterator[Conversation]:
        ending = content_ending(self.name)
        if ending == ".csv":
            return self._csv()
        return self._by_line(self._from_json if ending in JSON_ENDINGS else self._from_text)

    def _by_line(self, parse: Callable[[int, bytes], list[Conversation]]) -> Iterator[Conversation]:
        for number, line in self._lines():
            if not line or line.isspace():
                continue
            try:
                ready = parse(number, line)
            except _UnusableError as error:
                self._reject(number, line, str(error))
            else:
                yield from ready
        yield from self._group.flush()

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        number = 0
        try:
            while line := self._file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                    self._skip_line()
                yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        except (EOFError, OSError, zlib.error) as error:
            msg = f"{self.name} cannot be read beyond line {number}: {error}"
            raise errors.InvalidDataError(msg) from error

    def _skip_line(self) -> None:
        while (rest := self._file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
            pass

    def _reject(self, number: int, line: bytes, reason: str) -> None:
        content = line[: 4 * MAX_QUOTED_CHARS].decode("utf-8", "backslashreplace").rstrip("\r\n")
        self._reject_line(Rejection(line=number, reason=reason, content=content[:MAX_QUOTED_CHARS]))

    def _from_text(self, number: int, line: bytes) -> list[Conversation]:
        _check_length(line)
        try:
            text = line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise _UnusableError(_not_utf8(error)) from None
        return self._add(number, _Piece(None, self._default_speaker, text, None, None))

    def _from_json(self, number: int, line: bytes) -> list[Conversation]:
        record = _parse_object(line)
        if "turns" in record:
            conversation = self._nested(number, record)
            return [*self._group.flush(), conversation]
        return self._add(number, self._flat(record))

    def _nested(self, number: int, record: Mapping[str, Any]) -> Conversation:
        entries = record["turns"]
        if type(entries) is not list:
            msg = "turns is not a list"
            raise _UnusableError(msg)
        conversation_id = _identifier(record.get("conversation_id"), "conversation_id")
        return Conversation(
            id=conversation_id,
            user=_user(record.get("user")),
            turns=tuple(self._wanted_turns(entries)),
            line=number,
        )

    def _wanted_turns(self, entries: list[Any]) -> Iterator[Turn]:
        place = 0
        try:
            for place, entry in enumerate(entries):
                speaker, text, ts = _entry(entry)
                if self._wants(speaker):
                    _check_text(text)
                    yield Turn(place, speaker, text, ts)
        except _UnusableError as error:
            msg = f"turn {place}: {error}"
            raise _UnusableError(msg) from None

    def _flat(self, record: Mapping[str, Any]) -> _Piece:
        conversation_id = record.get("conversation_id")
        speaker, text, ts = _entry({"speaker": self._default_speaker, **record})
        return _Piece(
            None if conversation_id is None else _identifier(conversation_id, "conversation_id"),
            speaker,
            text,
            ts,
            self._users.get(record.get("user")),
        )

    def _add(self, number: int, piece: _Piece) -> list[Conversation]:
        wanted = self._wants(piece.speaker)
        if wanted:
            _check_text(piece.text)
        return self._group.add(number, piece, wanted=wanted)

    def _wants(self, speaker: str) -> bool:
        if self._everybody or speaker in self._speakers:
            return True
        if speaker in self.speakers_seen:
            return False
        if speaker.casefold() in self._speakers:
            return True
        if len(self.speakers_seen) < MAX_SPEAKERS_SEEN:
            self.speakers_seen.add(speaker)
        return False

    def _csv(self) -> Iterator[Conversation]:
        feed = _CsvFeed(self._lines())
        rows = csv.reader(feed, strict=True)
        columns = self._csv_header(rows)
        while (row := self._csv_row(rows, feed)) is not None:
            number, record = feed.record
            try:
                ready = self._add(number, columns.piece(row, self._default_speaker)) if row else []
            except _UnusableError as error:
                self._reject(number, record, str(error))
            else:
                yield from ready
        yield from self._group.flush()

    def _csv_header(self, rows: Iterator[list[str]]) -> "_CsvColumns":
        try:
            return _CsvColumns([name.strip() for name in next(rows, [])])
        except (csv.Error, _UnusableError) as error:
            msg = f"{self.name} has no usable CSV header: {error}"
            raise errors.InvalidDataError(msg) from error

    def _csv_row(self, rows: Iterator[list[str]], feed: "_CsvFeed") -> list[str] | None:
        """Give the next row, None at the end; what is not CSV is rejected on the way."""
        while True:
            feed.start()
            try:
                row = next(rows, None)
                if row is None or feed.encoding_fault is None:
                    return row
                fault = feed.encoding_fault
            except csv.Error as error:
                fault = f"is not CSV: {error}"
            self._reject(*feed.start_over(), fault)


class _Group:
    """Joins the consecutive lines of one conversation."""

    def __init__(self) -> None:
        self._id: str | None = None
        self._begin(None, 0)

    def _begin(self, conversation_id: str | None, line: int, length: int = 0) -> None:
        self._id, self._line, self._length = conversation_id, line, length
        self._user: jobs.User | None = None
        self._turns: list[Turn] = []

    def add(self, line: int, piece: _Piece, *, wanted: bool) -> list[Conversation]:
        """Take a line; give the conversations that are complete with it."""
        ready: list[Conversation] = []
        if piece.conversation_id is None:
            ready = self.flush()
            self._begin(f"line-{line}", line)
            self._take(piece, wanted=wanted)
            return ready + self.flush()
        if piece.conversation_id != self._id:
            ready = self.flush()
            self._begin(piece.conversation_id, line)
        elif len(self._turns) >= MAX_TURNS:
            ready = [self._conversation()]
            self._begin_next_part(line)
        self._take(piece, wanted=wanted)
        return ready

    def _begin_next_part(self, line: int) -> None:
        user = self._user
        self._begin(self._id, line, self._length)
        self._user = user

    def _take(self, piece: _Piece, *, wanted: bool) -> None:
        if wanted:
            self._turns.append(Turn(self._length, piece.speaker, piece.text, piece.ts))
        self._user = self._user or piece.user
        self._length += 1

    def flush(self) -> list[Conversation]:
        """Give the conversation under way, if there is one, as complete."""
        if self._id is None:
            return []
        conversation = self._conversation()
        self._begin(None, 0)
        return [conversation]

    def _conversation(self) -> Conversation:
        return Conversation(id=self._id or "", user=self._user, turns=tuple(self._turns), line=self._line)


class _CsvFeed:
    """Gives `csv.reader` its lines, and can give those behind a bad one again.

    A quote that is never closed swallows the lines behind it; only the line with the quote is to be lost.
    """

    def __init__(self, lines: Iterator[tuple[int, bytes]]) -> None:
        self._lines = lines
        self._again: deque[tuple[int, bytes]] = deque()
        self.start()

    def start(self) -> None:
        """Begin a record."""
        self._taken: list[tuple[int, bytes]] = []
        self.encoding_fault: str | None = None

    @property
    def record(self) -> tuple[int, bytes]:
        """The number of the record's first line, and all its lines."""
        return self._taken[0][0], b"".join(line for _, line in self._taken)

    def start_over(self) -> tuple[int, bytes]:
        """Give the record's first line up, and the others again."""
        first, *others = self._taken
        self._again.extendleft(reversed(others))
        return first

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        number, line = self._again.popleft() if self._again else next(self._lines)
        self._taken.append((number, line))
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            self.encoding_fault = _not_utf8(error)
            return line.decode("utf-8", "surrogateescape")


class _CsvColumns:
    """Where in a row everything is."""

    def __init__(self, header: Sequence[str]) -> None:
        self._width = len(header)
        place = {name.casefold(): index for index, name in enumerate(header)}
        if "text" not in place:
            msg = (
                "no column is named text (expected: conversation_id, speaker, text, and perhaps ts, user_id)"
            )
            raise _UnusableError(msg)
        self._text = place["text"]
        self._conversation = place.get("conversation_id")
        self._speaker = place.get("speaker")
        self._ts = place.get("ts")
        self._user = place.get("user_id")
        self._user_fields = {name: place[name] for name in ("email", "country") if name in place}
        self._custom = dict(_custom_columns(header))
        self._users = _LastUser()

    def piece(self, row: Sequence[str], default_speaker: str) -> _Piece:
        if len(row) != self._width:
            msg = f"has {len(row)} fields; the header has {self._width}"
            raise _UnusableError(msg)
        conversation_id = None if self._conversation is None else row[self._conversation]
        speaker = default_speaker if self._speaker is None else row[self._speaker]
        return _Piece(
            None if conversation_id is None else _identifier(conversation_id, "conversation_id"),
            _identifier(speaker, "speaker"),
            row[self._text],
            (row[self._ts] or None) if self._ts is not None else None,
            self._user_of(row),
        )

    def _user_of(self, row: Sequence[str]) -> jobs.User | None:
        if self._user is None or not row[self._user]:
            return None
        user: dict[str, object] = {
            name: row[place] for name, place in self._user_fields.items() if row[place]
        }
        custom = {name: row[place] for name, place in self._custom.items() if row[place]}
        return self._users.get({"id": row[self._user], "custom": custom} | user)


def _custom_columns(header: Sequence[str]) -> Iterator[tuple[str, int]]:
    for index, name in enumerate(header):
        if name.casefold() == "plan":
            yield "plan", index
        elif name.casefold().startswith("user."):
            yield name[len("user.") :], index


def content_ending(name: str) -> str:
    """Give the ending that says what a file holds: without `.gz`, in lower case."""
    if name == STDIN:
        return ".jsonl"
    path = Path(name)
    if path.suffix.lower() == GZIP_ENDING:
        path = path.with_suffix("")
    return path.suffix.lower()


def _open(name: str) -> tuple[BinaryIO, BinaryIO, int | None]:
    """Give what a file's position is told by, what its lines are read from, and its size if it has one."""
    if name == STDIN:
        return sys.stdin.buffer, sys.stdin.buffer, None
    try:
        raw = Path(name).open("rb")  # noqa: SIM115  the Reader closes it
    except OSError as error:
        msg = f"{name} cannot be read: {error.strerror}"
        raise errors.InvalidDataError(msg) from error
    status = os.fstat(raw.fileno())
    size = status.st_size if stat.S_ISREG(status.st_mode) else None
    if not name.lower().endswith(GZIP_ENDING):
        return raw, raw, size
    return raw, cast("BinaryIO", gzip.open(raw)), size


def _parse_object(line: bytes) -> dict[str, Any]:
    _check_length(line)
    try:
        record = pydantic_core.from_json(line, allow_inf_nan=False)
    except ValueError as error:
        msg = f"is not JSON: {error}"
        raise _UnusableError(msg) from None
    if type(record) is not dict:
        msg = "is not a JSON object"
        raise _UnusableError(msg)
    return record


def _check_length(line: bytes) -> None:
    if len(line) > MAX_LINE_BYTES:
        msg = f"is longer than {MAX_LINE_BYTES} bytes"
        raise _UnusableError(msg)


def _entry(entry: object) -> tuple[str, str, Timestamp]:
    """Check the types of a turn; give its speaker, text and time."""
    if not isinstance(entry, dict):
        msg = "is not a JSON object"
        raise _UnusableError(msg)
    speaker, text, ts = entry.get("speaker"), entry.get("text"), entry.get("ts")
    if type(speaker) is not str or not speaker:
        msg = "speaker is not a string" if speaker else "speaker is missing"
        raise _UnusableError(msg)
    if type(text) is not str:
        msg = "text is missing" if text is None else "text is not a string"
        raise _UnusableError(msg)
    if ts is not None and type(ts) is not str and not _is_number(ts):
        msg = "ts is neither a string nor a number"
        raise _UnusableError(msg)
    return speaker, text, ts


def _is_number(value: object) -> bool:
    return _is_integer(value) or (type(value) is float and math.isfinite(value))


def _is_integer(value: object) -> bool:
    # Not isinstance: a bool is an int. And none that the outcome could not be written with.
    return type(value) is int and -MAX_INTEGER < value < MAX_INTEGER


def _check_text(text: str) -> None:
    if not text or text.isspace():
        msg = "text is empty"
        raise _UnusableError(msg)
    if len(text) > jobs.MAX_TEXT_CHARS:
        msg = f"text has {len(text)} characters; at most {jobs.MAX_TEXT_CHARS} are allowed"
        raise _UnusableError(msg)


def _identifier(value: object, name: str) -> str:
    if _is_integer(value):
        return str(value)
    if type(value) is not str or not value:
        msg = f"{name} is missing" if value is None or value == "" else f"{name} is not a string"
        raise _UnusableError(msg)
    if len(value) > MAX_IDENTIFIER_CHARS:
        msg = f"{name} is longer than {MAX_IDENTIFIER_CHARS} characters"
        raise _UnusableError(msg)
    return value


def _user(value: object) -> jobs.User | None:
    """Take a bare id or an object for a user; keys that mean nothing here are ignored."""
    if value is None:
        return None
    fields: dict[str, Any] = value if type(value) is dict else {"id": value}
    known = {name: fields[name] for name in USER_FIELDS if fields.get(name) is not None}
    if _is_integer(known.get("id")):
        known["id"] = str(known["id"])
    if type(custom := known.get("custom")) is dict:
        known["custom"] = {name: setting for name, setting in custom.items() if setting is not None}
    try:
        return jobs.User.parse(known)
    except errors.InvalidMessageError as error:
        msg = f"user: {error}"
        raise _UnusableError(msg) from None


class _LastUser:
    """Remembers the user of the line before: mostly the next line has the same."""

    def __init__(self) -> None:
        self._value: object = None
        self._user: jobs.User | None = None

    def get(self, value: object) -> jobs.User | None:
        """Give the user that a value stands for; see `_user`."""
        if value != self._value:
            self._user = _user(value)
            self._value = value
        return self._user


def _not_utf8(error: UnicodeDecodeError) -> str:
    return f"is not UTF-8 at byte {error.start + 1} of the line"
