"""Reading transcript files: JSON lines, CSV and plain text, plain or gzipped, one conversation at a time.

However large the file, one line and one conversation are held. What cannot be used is handed to the caller with
its line number, and reading goes on behind it. Knows nothing of queues.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from pointsman_producer.transcripts import csv_reader, fields
from pointsman_producer.transcripts.fields import Piece, Timestamp, UnusableError
from pointsman_producer.transcripts.lines import MAX_LINE_BYTES, Lines, content_ending
from pointsman_shared.wire import jobs

CUSTOMER = "customer"
EVERYBODY = "all"
JSON_ENDINGS = {".jsonl", ".ndjson", ".json"}

# A conversation spread over more lines than this is handed on in pieces, so that a file in which every line
# carries the same id does not end up in memory.
MAX_TURNS = 10_000
MAX_QUOTED_CHARS = 100_000
MAX_SPEAKERS_SEEN = 20


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
        self._users = fields.LastUser()
        self.speakers_seen: set[str] = set()
        """Some of the speakers who were not asked for."""
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
        """How many of the `size` bytes were read; 0 where there is no telling."""
        return self._lines.position

    def __iter__(self) -> Iterator[Conversation]:
        ending = content_ending(self.name)
        if ending == ".csv":
            return self._csv()
        return self._by_line(self._from_json if ending in JSON_ENDINGS else self._from_text)

    def _by_line(self, parse: Callable[[int, bytes], list[Conversation]]) -> Iterator[Conversation]:
        for number, line in self._lines:
            if not line or line.isspace():
                continue
            try:
                _check_length(line)
                ready = parse(number, line)
            except UnusableError as error:
                self._reject(number, line, str(error))
            else:
                yield from ready
        yield from self._group.flush()

    def _reject(self, number: int, line: bytes, reason: str) -> None:
        content = line[: 4 * MAX_QUOTED_CHARS].decode("utf-8", "backslashreplace").rstrip("\r\n")
        self._reject_line(Rejection(line=number, reason=reason, content=content[:MAX_QUOTED_CHARS]))

    def _from_text(self, number: int, line: bytes) -> list[Conversation]:
        try:
            text = line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UnusableError(fields.not_utf8(error)) from None
        return self._add(number, Piece(None, self._default_speaker, text, None, None))

    def _from_json(self, number: int, line: bytes) -> list[Conversation]:
        record = fields.parse_object(line)
        if "turns" in record:
            conversation = self._nested(number, record)
            return [*self._group.flush(), conversation]
        return self._add(number, self._flat(record))

    def _nested(self, number: int, record: Mapping[str, Any]) -> Conversation:
        entries = record["turns"]
        if type(entries) is not list:
            msg = "turns is not a list"
            raise UnusableError(msg)
        conversation_id = fields.identifier(record.get("conversation_id"), "conversation_id")
        return Conversation(
            id=conversation_id,
            user=fields.parse_user(record.get("user")),
            turns=tuple(self._wanted_turns(entries)),
            line=number,
        )

    def _wanted_turns(self, entries: list[Any]) -> Iterator[Turn]:
        place = 0
        try:
            for place, entry in enumerate(entries):
                speaker, text, ts = fields.parse_turn(entry)
                if self._wants(speaker):
                    fields.check_text(text)
                    yield Turn(place, speaker, text, ts)
        except UnusableError as error:
            msg = f"turn {place}: {error}"
            raise UnusableError(msg) from None

    def _flat(self, record: Mapping[str, Any]) -> Piece:
        conversation_id = record.get("conversation_id")
        speaker, text, ts = fields.parse_turn({"speaker": self._default_speaker, **record})
        return Piece(
            None if conversation_id is None else fields.identifier(conversation_id, "conversation_id"),
            speaker,
            text,
            ts,
            self._users.get(record.get("user")),
        )

    def _add(self, number: int, piece: Piece) -> list[Conversation]:
        wanted = self._wants(piece.speaker)
        if wanted:
            fields.check_text(piece.text)
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
        rows = csv_reader.Rows(
            iter(self._lines), name=self.name, default_speaker=self._default_speaker, reject=self._reject
        )
        for number, content, piece in rows:
            try:
                ready = self._add(number, piece)
            except UnusableError as error:
                self._reject(number, content, str(error))
            else:
                yield from ready
        yield from self._group.flush()


class _Group:
    """Joins the consecutive lines of one conversation."""

    def __init__(self) -> None:
        self._id: str | None = None
        self._begin(None, 0)

    def _begin(self, conversation_id: str | None, line: int, length: int = 0) -> None:
        self._id, self._line, self._length = conversation_id, line, length
        self._user: jobs.User | None = None
        self._turns: list[Turn] = []

    def add(self, line: int, piece: Piece, *, wanted: bool) -> list[Conversation]:
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

    def _take(self, piece: Piece, *, wanted: bool) -> None:
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


def _check_length(line: bytes) -> None:
    if len(line) > MAX_LINE_BYTES:
        msg = f"is longer than {MAX_LINE_BYTES} bytes"
        raise UnusableError(msg)
