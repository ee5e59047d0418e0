"""Reading transcripts from CSV: row by row, each a turn.

A row that cannot be used is handed over with its line number, and costs no other row.
"""

import csv
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Self

from pointsman_producer.transcripts import fields
from pointsman_producer.transcripts.fields import UnusableError
from pointsman_shared import errors
from pointsman_shared.wire import jobs


class Row(NamedTuple):
    """A row that holds a turn."""

    line: int
    """The number of its first line."""
    content: bytes
    piece: fields.Piece


class Rows:
    """Iterates over the rows that hold a turn.

    Args:
        lines: The numbered lines of the file.
        name: What messages call it.
        default_speaker: Who speaks where there is no column that says so.
        reject: Called with each row that cannot be used: its line, its content, and why.

    Raises:
        InvalidDataError: The file has no usable header; while iterating.
    """

    def __init__(
        self,
        lines: Iterator[tuple[int, bytes]],
        *,
        name: str,
        default_speaker: str,
        reject: Callable[[int, bytes, str], None],
    ) -> None:
        self._feed = _Feed(lines)
        self._rows = csv.reader(self._feed, strict=True)
        self._name = name
        self._default_speaker = default_speaker
        self._reject = reject

    def __iter__(self) -> Iterator[Row]:
        columns = self._header()
        while (row := self._next()) is not None:
            line, content = self._feed.record
            if not row:
                continue
            try:
                piece = columns.piece(row, self._default_speaker)
            except UnusableError as error:
                self._reject(line, content, str(error))
            else:
                yield Row(line, content, piece)

    def _header(self) -> "_Columns":
        try:
            return _Columns([name.strip() for name in next(self._rows, [])])
        except (csv.Error, UnusableError) as error:
            msg = f"{self._name} has no usable CSV header: {error}"
            raise errors.InvalidDataError(msg) from error

    def _next(self) -> list[str] | None:
        """Give the next row, None at the end; what is not CSV is rejected on the way."""
        while True:
            self._feed.start()
            try:
                row = next(self._rows, None)
                if row is None or self._feed.encoding_fault is None:
                    return row
                fault = self._feed.encoding_fault
            except csv.Error as error:
                fault = f"is not CSV: {error}"
            self._reject(*self._feed.start_over(), fault)


class _Feed:
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
            self.encoding_fault = fields.not_utf8(error)
            return line.decode("utf-8", "surrogateescape")


class _Columns:
    """Where in a row everything is."""

    def __init__(self, header: Sequence[str]) -> None:
        self._width = len(header)
        place = {name.casefold(): index for index, name in enumerate(header)}
        if "text" not in place:
            msg = (
                "no column is named text (expected: conversation_id, speaker, text, and perhaps ts, user_id)"
            )
            raise UnusableError(msg)
        self._text = place["text"]
        self._conversation = place.get("conversation_id")
        self._speaker = place.get("speaker")
        self._ts = place.get("ts")
        self._user = place.get("user_id")
        self._user_fields = {name: place[name] for name in ("email", "country") if name in place}
        self._custom = dict(_custom_columns(header))
        self._users = fields.LastUser()

    def piece(self, row: Sequence[str], default_speaker: str) -> fields.Piece:
        if len(row) != self._width:
            msg = f"has {len(row)} fields; the header has {self._width}"
            raise UnusableError(msg)
        conversation_id = None if self._conversation is None else row[self._conversation]
        speaker = default_speaker if self._speaker is None else row[self._speaker]
        return fields.Piece(
            None if conversation_id is None else fields.identifier(conversation_id, "conversation_id"),
            fields.identifier(speaker, "speaker"),
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
