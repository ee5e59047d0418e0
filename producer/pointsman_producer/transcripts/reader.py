"""Transcript files: JSON lines, CSV and plain text, plain or gzipped, read one conversation at a time.

The reader holds one line and one conversation, however large the file. It hands each line that cannot be used to the
caller with its number, and reads on. Knows no queue.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

from pointsman_producer.transcripts import csv_reader, fields
from pointsman_producer.transcripts.fields import FlatLine, NestedLine, Timestamp, TurnFields, UnusableError
from pointsman_producer.transcripts.lines import MAX_LINE_BYTES, Lines, content_ending
from pointsman_shared import errors
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


class Rejection(NamedTuple):
    """A line that cannot be used, the reason, and the line itself, cut to `MAX_QUOTED_CHARS`."""

    line: int
    reason: str
    content: str


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
        self._group: _Group | None = None
        # The user of the line before, as it was given and as it was read: the next line mostly has the same.
        self._last_user: tuple[object, jobs.User | None] = (None, None)
        self.speakers_seen: set[str] = set()
        """Some of the speakers who were not requested."""
        self._lines = Lines(self.name)
        self.size = self._lines.size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()

    @property
    def position(self) -> int:
        """The number of the `size` bytes that were read; 0 if it is unknown."""
        return self._lines.position

    def __iter__(self) -> Iterator[Conversation]:
        for number, content, make in self._records():
            try:
                if len(content) > MAX_LINE_BYTES:
                    msg = f"is longer than {MAX_LINE_BYTES} bytes"
                    raise UnusableError(msg)
                ready = self._take(number, make())
            except UnusableError as error:
                self._reject(number, content, str(error))
            else:
                yield from ready
        yield from self._flush()

    def _records(self) -> Iterator[tuple[int, bytes, Callable[[], dict[str, Any]]]]:
        """Yield the number of each record's line, its content, and how to make it (`UnusableError`)."""
        ending = content_ending(self.name)
        if ending == ".csv":
            yield from csv_reader.read(iter(self._lines), name=self.name)
            return
        parse = fields.parse_object if ending in JSON_ENDINGS else fields.parse_text
        for number, line in self._lines:
            if number == 1 and ending in JSON_ENDINGS and line.strip() == b"[":
                msg = f"{self.name}: is a JSON list; expected JSON lines, one object a line"
                raise errors.InvalidDataError(msg)
            if line and not line.isspace():
                yield number, line, partial(parse, line)

    def _reject(self, number: int, line: bytes, reason: str) -> None:
        content = line[: 4 * MAX_QUOTED_CHARS].decode("utf-8", "backslashreplace").rstrip("\r\n")
        self._reject_line(Rejection(line=number, reason=reason, content=content[:MAX_QUOTED_CHARS]))

    def _take(self, number: int, record: Mapping[str, Any]) -> list[Conversation]:
        """Take a record; return the conversations that are complete with it."""
        if "turns" in record:
            conversation = self._nested(number, NestedLine.parse(record))
            return [*self._flush(), conversation]
        line = FlatLine.parse({"speaker": self._default_speaker, **record})
        if line.user != self._last_user[0]:
            self._last_user = (line.user, fields.parse_user(line.user))
        user, wanted = self._last_user[1], self._wants(line.speaker)
        if wanted:
            fields.check_text(line.text)
        group, ready = self._group, list[Conversation]()
        if group is None or line.conversation_id != group.id:
            ready = self._flush()
            group = _Group(line.conversation_id or f"line-{number}", number)
        elif len(group.turns) >= MAX_TURNS:
            ready = [group.conversation()]
            group = _Group(group.id, number, group.length, group.user)
        group.add(line, wanted=wanted)
        group.user = group.user or user
        self._group = group
        return ready if line.conversation_id is not None else ready + self._flush()

    def _flush(self) -> list[Conversation]:
        """Return the present conversation, if there is one, as complete."""
        group, self._group = self._group, None
        return [group.conversation()] if group is not None else []

    def _nested(self, number: int, line: NestedLine) -> Conversation:
        group = _Group(line.conversation_id, number, user=fields.parse_user(line.user))
        for turn in line.turns:
            if wanted := self._wants(turn.speaker):
                fields.check_text(turn.text, f"turn {group.length}: ")
            group.add(turn, wanted=wanted)
        return group.conversation()

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


@dataclass(slots=True)
class _Group:
    """The turns of one conversation that were read so far; `length` counts those of every speaker."""

    id: str
    line: int
    length: int = 0
    user: jobs.User | None = None
    turns: list[Turn] = field(default_factory=list)

    def add(self, turn: TurnFields, *, wanted: bool) -> None:
        if wanted:
            self.turns.append(Turn(self.length, turn.speaker, turn.text, turn.ts))
        self.length += 1

    def conversation(self) -> Conversation:
        return Conversation(id=self.id, user=self.user, turns=tuple(self.turns), line=self.line)
