"""Transcript files: JSON lines, CSV and plain text, plain or gzipped, read one conversation at a time.

The reader holds one line and one conversation, however large the file. It hands each line that cannot be used to the
caller with its number, and reads on. Knows no queue.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from pointsman_producer.transcripts import csv_reader, fields
from pointsman_producer.transcripts.fields import FlatLine, NestedLine, Timestamp, UnusableError
from pointsman_producer.transcripts.lines import MAX_LINE_BYTES, Lines, content_ending
from pointsman_shared.wire import jobs

CUSTOMER = "customer"
EVERYBODY = "all"
JSON_ENDINGS = {".jsonl", ".ndjson", ".json"}

# A conversation of more lines than this is yielded in parts, so that a file with one id on every line does not fill the
# memory.
MAX_TURNS = 10_000
MAX_QUOTED_CHARS = 100_000
MAX_SPEAKERS_SEEN = 20


class Turn(NamedTuple):
    """One speaker's text. A named tuple costs a third of a dataclass, and one is built per text."""

    place: int
    """Its index in the conversation, in which the turns of every speaker count."""
    speaker: str
    text: str
    ts: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One conversation, with the turns of the requested speakers."""

    id: str
    user: jobs.User | None
    turns: tuple[Turn, ...]
    line: int
    """The line on which it begins; the first line of the file is 1."""

    @property
    def user_id(self) -> str | None:
        """The id of the user; None without a user."""
        return self.user.id if self.user else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A line that cannot be used, and the reason."""

    line: int
    reason: str
    content: str
    """The line itself, cut to `MAX_QUOTED_CHARS`."""


class Reader:
    """Iterates over the conversations of a file. A context manager.

    `source` is a path, or `-` for JSON lines from standard input. By its ending (before `.gz`) the file is JSON lines
    (.jsonl, .ndjson, .json), CSV (.csv) or plain text, one text a line. `speakers` are those whose turns are wanted, in
    any case, or `all`. `reject` is called with each line that cannot be used. A file that cannot be read raises
    `InvalidDataError`, also while iterating.
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
        self._users = fields.LastUser()
        self.speakers_seen: set[str] = set()
        """Some of the speakers who were not requested."""
        self._lines = Lines(self.name)
        self.size = self._lines.size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lines.close()

    @property
    def position(self) -> int:
        """The number of the `size` bytes that were read; 0 if it is unknown."""
        return self._lines.position

    def __iter__(self) -> Iterator[Conversation]:
        for number, content, record in self._records():
            try:
                ready = self._take(number, record)
            except UnusableError as error:
                self._reject(number, content, str(error))
            else:
                yield from ready
        yield from self._group.flush()

    def _records(self) -> Iterator[tuple[int, bytes, Mapping[str, Any]]]:
        ending = content_ending(self.name)
        if ending == ".csv":
            return csv_reader.read(iter(self._lines), name=self.name, reject=self._reject)
        return self._by_line(fields.parse_object if ending in JSON_ENDINGS else fields.parse_text)

    def _by_line(
        self, parse: Callable[[bytes], Mapping[str, Any]]
    ) -> Iterator[tuple[int, bytes, Mapping[str, Any]]]:
        for number, line in self._lines:
            if not line or line.isspace():
                continue
            try:
                _check_length(line)
                record = parse(line)
            except UnusableError as error:
                self._reject(number, line, str(error))
            else:
                yield number, line, record

    def _reject(self, number: int, line: bytes, reason: str) -> None:
        content = line[: 4 * MAX_QUOTED_CHARS].decode("utf-8", "backslashreplace").rstrip("\r\n")
        self._reject_line(Rejection(line=number, reason=reason, content=content[:MAX_QUOTED_CHARS]))

    def _take(self, number: int, record: Mapping[str, Any]) -> list[Conversation]:
        """Take a record; return the conversations that are complete with it."""
        if "turns" in record:
            conversation = self._nested(number, NestedLine.parse(record))
            return [*self._group.flush(), conversation]
        line = FlatLine.parse({"speaker": self._default_speaker, **record})
        user, wanted = self._users.get(line.user), self._wants(line.speaker)
        if wanted:
            fields.check_text(line.text)
        return self._group.add(number, line, user, wanted=wanted)

    def _nested(self, number: int, line: NestedLine) -> Conversation:
        user = fields.parse_user(line.user)
        turns = tuple(
            Turn(place, turn.speaker, turn.text, turn.ts)
            for place, turn in enumerate(line.turns)
            if self._wants(turn.speaker)
        )
        for turn in turns:
            try:
                fields.check_text(turn.text)
            except UnusableError as error:
                msg = f"turn {turn.place}: {error}"
                raise UnusableError(msg) from None
        return Conversation(id=line.conversation_id, user=user, turns=turns, line=number)

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


class _Group:
    """Joins the consecutive lines of one conversation."""

    def __init__(self) -> None:
        self._id: str | None = None
        self._begin(None, 0)

    def _begin(self, conversation_id: str | None, line: int, length: int = 0) -> None:
        self._id, self._line, self._length = conversation_id, line, length
        self._user: jobs.User | None = None
        self._turns: list[Turn] = []

    def add(self, line: int, piece: FlatLine, user: jobs.User | None, *, wanted: bool) -> list[Conversation]:
        """Take a line; return the conversations that are complete with it."""
        ready: list[Conversation] = []
        if piece.conversation_id is None:
            ready = self.flush()
            self._begin(f"line-{line}", line)
            self._take(piece, user, wanted=wanted)
            return ready + self.flush()
        if piece.conversation_id != self._id:
            ready = self.flush()
            self._begin(piece.conversation_id, line)
        elif len(self._turns) >= MAX_TURNS:
            ready = [self._conversation()]
            self._begin_next_part(line)
        self._take(piece, user, wanted=wanted)
        return ready

    def _begin_next_part(self, line: int) -> None:
        user = self._user
        self._begin(self._id, line, self._length)
        self._user = user

    def _take(self, piece: FlatLine, user: jobs.User | None, *, wanted: bool) -> None:
        if wanted:
            self._turns.append(Turn(self._length, piece.speaker, piece.text, piece.ts))
        self._user = self._user or user
        self._length += 1

    def flush(self) -> list[Conversation]:
        """Return the present conversation, if there is one, as complete."""
        if self._id is None:
            return []
        conversation = self._conversation()
        self._begin(None, 0)
        return [conversation]

    def _conversation(self) -> Conversation:
        return Conversation(id=self._id or "", user=self._user, turns=tuple(self._turns), line=self._line)


def _check_length(line: bytes) -> None:
    if len(line) > MAX_LINE_BYTES:
        msg = f"is longer than {MAX_LINE_BYTES} bytes"
        raise UnusableError(msg)
