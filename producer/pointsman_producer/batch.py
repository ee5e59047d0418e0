"""A batch: a transcript file in, one outcome per turn out, in order, none missing, none double.

While it runs, a journal beside the output (`OUT.partial`) holds the outcomes in the order of the input; OUT
appears when all are there. Which turns share a message depends on the input alone, and a message's id on the
batch's id and its number, so a run that was cut off anywhere goes on where the journal ends and gives what it
would have given. What the journal belongs to stands in `OUT.header.partial`: kept out of the journal, it lets
that become OUT by a change of name, with no second copy of a large file. The two cannot disagree unnoticed,
because every outcome names its batch.
"""

import contextlib
import errno
import hashlib
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pointsman_producer import client, summaries, transcripts, writers
from pointsman_shared import errors, jobs, names

DEFAULT_WINDOW = 16
DEFAULT_TIMEOUT_S = 300.0
# How soon a request to stop is noticed while nothing arrives.
POLL_S = 0.25
# Long texts make a message shorter: 16 of these in flight are what a batch holds in memory.
MAX_CHUNK_CHARS = 1_000_000
# The journal reaches the disk, and outcomes may leave Redis, once in so many messages.
RELEASE_MESSAGES = 32
SAMPLE_BYTES = 1024 * 1024
DISK_FULL = {errno.EDQUOT, errno.EIO, errno.ENOSPC}
NOT_WRITABLE = {errno.EACCES, errno.EFBIG, errno.EISDIR, errno.ENAMETOOLONG, errno.EPERM, errno.EROFS}
MESSAGE_NAMESPACE = uuid.UUID("6f0f3c0e-5f1c-5d0a-9a35-3f6f1f2f7d11")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be classified, and where to."""

    source: str
    """A transcript file; see `transcripts.Reader`."""
    out: Path
    speakers: tuple[str, ...] = (transcripts.CUSTOMER,)
    include_text: bool = True
    resume: bool = False
    """Go on where an earlier run stopped; begin if there was none."""
    force: bool = False
    """Begin anew whatever is there."""
    batch_id: str | None = None
    """None for a random one."""
    texts_per_message: int = 500
    window: int = DEFAULT_WINDOW
    """How many messages are in flight at most."""
    timeout_s: float = DEFAULT_TIMEOUT_S
    """How long to wait for the next message's outcomes before giving up."""

    @property
    def journal(self) -> Path:
        """Where the outcomes are until all are there."""
        return self.out.with_name(self.out.name + ".partial")

    @property
    def header(self) -> Path:
        """What the journal belongs to."""
        return self.out.with_name(self.out.name + ".header.partial")

    @property
    def conversations(self) -> Path:
        """Where the conversation summaries go, in the format of the outcomes."""
        return self.out.with_name(f"{self.out.stem}.conversations{self.out.suffix}")

    @property
    def rejected(self) -> Path:
        """Where lines go that cannot be used; there is no such file if there is no such line."""
        return self.out.with_name(self.out.name + ".rejected.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run has come."""

    outcomes: int
    resumed: int
    """How many of the outcomes an earlier run had written."""
    rejected: int
    position: int
    """How many bytes of the input those outcomes come from."""
    size: int | None
    """The size of the input, None where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a run did. `complete` says whether OUT is there."""

    batch: str
    complete: bool
    progress: Progress
    conversations: int
    tally: summaries.Tally
    duration_s: float


class MessageHandle(Protocol):
    """A message under way."""

    @property
    def id(self) -> str:
        """The message's id."""

    def result(self, timeout_s: float) -> jobs.ClassifyReply:
        """Wait for the reply; may be asked again after a `ResultTimeoutError`."""


class Submitter(Protocol):
    """What a batch asks of a client."""

    def submit_message(self, request: jobs.ClassifyRequest, *, message_id: str, queue: str) -> MessageHandle:
        """Submit a message; one that was done already is not done again."""

    def release(self, message_ids: Sequence[str]) -> None:
        """Let the outcomes of messages go: they are on disk."""


class Watcher:
    """Hears how a run goes, and may end it. This one is silent and patient."""

    def progressed(self, progress: Progress) -> None:
        """Some outcomes were written."""

    def rejected(self, rejection: transcripts.Rejection) -> None:
        """A line cannot be used."""

    def wants_stop(self) -> bool:
        """Say whether the run is to stop with what it has."""
        return False


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The turns of one message, and whose they are."""

    number: int
    owners: list[transcripts.Conversation]
    turns: list[transcripts.Turn]
    position: int
    """How far the input was read when the last of them was taken."""


def chunks(reader: transcripts.Reader, size: int) -> Iterator[Chunk]:
    """Cut the stream of turns into messages, by nothing but the turns themselves."""
    number = chars = 0
    owners: list[transcripts.Conversation] = []
    turns: list[transcripts.Turn] = []
    for conversation in reader:
        for turn in conversation.turns:
            if len(turns) == size or (turns and chars + len(turn.text) > MAX_CHUNK_CHARS):
                yield Chunk(number=number, owners=owners, turns=turns, position=reader.position)
                number, chars, owners, turns = number + 1, 0, [], []
            owners.append(conversation)
            turns.append(turn)
            chars += len(turn.text)
    if turns:
        yield Chunk(number=number, owners=owners, turns=turns, position=reader.position)


def message_id(batch: str, number: int) -> str:
    """Name a batch's message, the same in every run."""
    return str(uuid.uuid5(MESSAGE_NAMESPACE, f"{batch}:{number}"))


def run(
    plan: Plan, connect: Callable[[], AbstractContextManager[Submitter]], watcher: Watcher | None = None
) -> Report | None:
    """Classify a transcript file.

    Args:
        plan: What, and where to.
        connect: Gives a client; called once everything that needs none was checked.
        watcher: Hears how it goes.

    Returns:
        What was done; None if an earlier run had finished already.

    Raises:
        InvalidDataError: The input, the output or the journal cannot be used.
        BusyError: Another run writes the same output.
        RetryableError: Redis or the workers were lost, or the disk is full. The journal can be resumed.
        JobFailedError: A worker gave a message up. The journal stays.
    """
    writers.format_of(plan.out)
    if plan.resume and plan.out.exists() and not plan.journal.exists():
        plan.header.unlink(missing_ok=True)
        return None
    _check_outputs(plan)
    try:
        return _run(plan, connect, watcher or Watcher())
    except OSError as error:
        if error.errno not in DISK_FULL | NOT_WRITABLE:
            raise
        # The journal is good up to its last whole row.
        msg = f"{error.filename or plan.out} cannot be written: {error.strerror}"
        kind = errors.RetryableError if error.errno in DISK_FULL else errors.InvalidDataError
        raise kind(msg) from error


def _run(plan: Plan, connect: Callable[[], AbstractContextManager[Submitter]], watcher: Watcher) -> Report:
    with contextlib.ExitStack() as stack:
        rejects = stack.enter_context(
            contextlib.closing(writers.RejectedLines(plan.rejected, watcher.rejected))
        )
        reader = stack.enter_context(
            transcripts.Reader(plan.source, speakers=plan.speakers, reject=rejects.add)
        )
        journal, header = _open_journal(plan, _request_header(plan, reader.size))
        stack.callback(journal.close)
        rejects.begin()
        submitter = stack.enter_context(connect())
        return _Run(
            plan=plan,
            header=header,
            journal=journal,
            reader=reader,
            rejects=rejects,
            submitter=submitter,
            watcher=watcher,
        ).execute()


def _check_outputs(plan: Plan) -> None:
    if not plan.out.parent.is_dir():
        msg = f"{plan.out.parent} is not a folder: {plan.out.name} cannot be written there"
        raise errors.InvalidDataError(msg)
    outputs = (plan.out, plan.journal, plan.conversations, plan.rejected)
    source = Path(plan.source)
    if source.exists() and any(path.exists() and path.samefile(source) for path in outputs):
        msg = f"{plan.source} would be overwritten: choose another output"
        raise errors.InvalidDataError(msg)
    if plan.resume or plan.force:
        return
    if plan.journal.exists():
        msg = f"{plan.journal} is there: --resume completes that batch, --force begins anew"
        raise errors.InvalidDataError(msg)
    for path in (plan.out, plan.conversations):
        if path.exists():
            msg = f"{path} exists: --force replaces it"
            raise errors.InvalidDataError(msg)


def _request_header(plan: Plan, size: int | None) -> Header:
    try:
        return Header(
            batch=str(uuid.uuid4()) if plan.batch_id is None else plan.batch_id,
            input=plan.source,
            size=size,
            sha256=None if size is None else _digest(Path(plan.source), size),
            speakers=list(plan.speakers),
            include_text=plan.include_text,
            texts_per_message=plan.texts_per_message,
        )
    except ValidationError as error:
        raise errors.InvalidDataError(jobs.describe(error)) from None


def _digest(path: Path, size: int) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(SAMPLE_BYTES))
        file.seek(max(0, size - SAMPLE_BYTES))
        digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()


def _open_journal(plan: Plan, asked: Header) -> tuple[writers.Journal, Header]:
    journal = writers.Journal(plan.journal, plan.header)
    try:
        stored = _stored_header(plan, journal)
        if stored is None:
            journal.begin(asked.model_dump_json().encode() + b"\n")
            return journal, asked
        faults = list(stored.misfits(asked))
        if plan.batch_id not in {None, stored.batch}:
            faults.append(f"its batch is {stored.batch}")
        if faults:
            msg = f"{plan.journal} cannot be resumed: {'; '.join(faults)}"
            raise errors.InvalidDataError(msg)
    except errors.PointsmanError:
        journal.close()
        raise
    return journal, stored


def _stored_header(plan: Plan, journal: writers.Journal) -> Header | None:
    """Read what an earlier run began; None if this one is to begin."""
    if not plan.resume or journal.is_new:
        return None
    content = journal.read_header()
    if content is not None:
        return Header.parse(content, plan.header)
    if journal.is_empty:
        return None
    msg = f"{plan.journal} cannot be resumed: {plan.header} is gone; --force begins anew"
    raise errors.InvalidDataError(msg)


class _StoppedError(Exception):
    """The watcher wants to stop. Never leaves this module."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    """A message in flight."""

    chunk: Chunk
    written: int
    """How many of its rows are in the journal already."""
    handle: MessageHandle


class _Run:
    """One run over a file, from the first turn to the last."""

    def __init__(
        self,
        *,
        plan: Plan,
        header: Header,
        journal: writers.Journal,
        reader: transcripts.Reader,
        rejects: writers.RejectedLines,
        submitter: Submitter,
        watcher: Watcher,
    ) -> None:
        self._plan = plan
        self._header = header
        self._journal = journal
        self._reader = reader
        self._rejects = rejects
        self._submitter = submitter
        self._watcher = watcher
        self._format = writers.format_of(plan.out)
        self._tally = summaries.Tally()
        self._in_flight: deque[_Sent] = deque()
        self._to_release: list[str] = []
        self._resumed = self._ranks = self._position = 0
        self._started = time.monotonic()

    def execute(self) -> Report:
        """Run, and publish the files if the end was reached."""
        new = writers.staged(self._plan.conversations)
        table = writers.open_table(new, self._format, writers.SUMMARY_COLUMNS)
        self._summariser = summaries.Summariser(lambda summary: table.write(writers.summary_row(summary)))
        try:
            with contextlib.closing(table):
                complete = self._classify()
                self._summariser.close()
            if complete:
                self._publish(new)
        finally:
            new.unlink(missing_ok=True)
        return self._report(complete=complete)

    def _classify(self) -> bool:
        try:
            for chunk in chunks(self._reader, self._header.texts_per_message):
                self._heed_stop()
                self._process(chunk)
            while self._in_flight:
                self._take(self._wait)
        except _StoppedError:
            self._take_what_is_ready()
            return False
        finally:
            self._release()
        self._check_end()
        return True

    def _process(self, chunk: Chunk) -> None:
        written = self._replay(chunk)
        if written == len(chunk.turns):
            return
        while len(self._in_flight) >= self._plan.window:
            self._take(self._wait)
        self._in_flight.append(_Sent(chunk=chunk, written=written, handle=self._submit(chunk)))

    def _replay(self, chunk: Chunk) -> int:
        """Take what an earlier run wrote of a message; give how many rows that were."""
        rows = self._journal.replay(len(chunk.turns))
        if not rows:
            return 0
        message = message_id(self._header.batch, chunk.number)
        for place, (row, owner, turn) in enumerate(zip(rows, chunk.owners, chunk.turns, strict=False)):
            found = (
                row.get("job_id"),
                row.get("conversation_id"),
                row.get("turn"),
                row.get("text", turn.text),
            )
            if found != (names.job_id(message, place), owner.id, turn.place, turn.text):
                self._refuse_other_input()
        self._resumed += len(rows)
        self._note(
            chunk.owners[: len(rows)],
            [row["intent"] for row in rows],
            [row["tier"] for row in rows],
            [row["ranking"] for row in rows],
            chunk.position,
        )
        return len(rows)

    def _refuse_other_input(self) -> None:
        msg = f"{self._journal.path} cannot be resumed: its outcomes are not those of {self._plan.source}"
        raise errors.InvalidDataError(msg)

    def _submit(self, chunk: Chunk) -> MessageHandle:
        users, user_of = client.distinct_users([owner.user for owner in chunk.owners])
        request = jobs.ClassifyRequest.parse(
            {
                "texts": [turn.text for turn in chunk.turns],
                "users": users,
                "user_of": user_of if users else None,
                "batch": self._header.batch,
            }
        )
        self._journal.keep()
        return self._submitter.submit_message(
            request, message_id=message_id(self._header.batch, chunk.number), queue=names.BULK_QUEUE
        )

    def _take(self, wait: Callable[[_Sent], jobs.ClassifyReply]) -> None:
        """Write down the oldest message in flight."""
        sent = self._in_flight[0]
        chunk, written = sent.chunk, sent.written
        reply = wait(sent)
        lines = writers.encode_outcomes(
            reply, chunk.owners, chunk.turns, include_text=self._header.include_text
        )
        self._in_flight.popleft()
        self._journal.append(lines[written:])
        tier_of = [route.tier for route in reply.routes]
        self._note(
            chunk.owners[written:],
            reply.intent[written:],
            [tier_of[route] for route in reply.route_of[written:]],
            reply.ranking[written:],
            chunk.position,
        )
        self._to_release.append(sent.handle.id)
        if len(self._to_release) >= RELEASE_MESSAGES:
            self._release()

    def _wait(self, sent: _Sent) -> jobs.ClassifyReply:
        deadline = time.monotonic() + self._plan.timeout_s
        while True:
            self._heed_stop()
            try:
                return sent.handle.result(POLL_S)
            except errors.ResultTimeoutError:
                if time.monotonic() >= deadline:
                    msg = f"no outcome came for {self._plan.timeout_s:g} s: are workers running? Ask `pointsman doctor`"
                    raise errors.ResultTimeoutError(msg) from None
            except errors.PermanentError as error:
                lines = f"lines {sent.chunk.owners[0].line} to {sent.chunk.owners[-1].line}"
                msg = f"message {sent.handle.id} ({lines} of {self._plan.source}) failed: {error}"
                raise type(error)(msg) from error

    def _heed_stop(self) -> None:
        if self._watcher.wants_stop():
            raise _StoppedError

    def _take_what_is_ready(self) -> None:
        # What went wrong with a message is said by the run that goes on from here.
        with contextlib.suppress(errors.PointsmanError):
            while self._in_flight:
                self._take(lambda sent: sent.handle.result(0))

    def _note(
        self,
        owners: Sequence[transcripts.Conversation],
        intents: Sequence[str],
        tiers: Sequence[str],
        rankings: Sequence[Sequence[object]],
        position: int,
    ) -> None:
        """Count outcomes that are in the journal."""
        self._tally.add(intents, tiers)
        self._summariser.add(owners, intents, tiers)
        self._ranks = max(self._ranks, *map(len, rankings))
        self._position = position
        self._watcher.progressed(self._progress())

    def _progress(self) -> Progress:
        return Progress(
            outcomes=self._tally.total,
            resumed=self._resumed,
            rejected=self._rejects.count,
            position=self._position,
            size=self._reader.size,
        )

    def _release(self) -> None:
        """Let the outcomes that are safe here go from Redis."""
        if not self._to_release:
            return
        self._journal.sync()
        # They go by themselves later; no reason to stop.
        with contextlib.suppress(errors.RetryableError):
            self._submitter.release(self._to_release)
        self._to_release = []

    def _check_end(self) -> None:
        if self._journal.replay(1):
            self._refuse_other_input()
        if self._tally.total == 0 and (self._reader.speakers_seen or self._rejects.count):
            raise errors.InvalidDataError(self._why_nothing())

    def _why_nothing(self) -> str:
        if self._rejects.count and not self._reader.speakers_seen:
            return f"no line of {self._plan.source} can be used: {self._plan.rejected} says why"
        asked, seen = ", ".join(self._header.speakers), ", ".join(sorted(self._reader.speakers_seen))
        return f"{self._plan.source} has no turn by {asked}: choose --speaker among {seen}, or `all`"

    def _publish(self, conversations: Path) -> None:
        writers.publish(conversations, self._plan.conversations)
        columns = writers.outcome_columns(include_text=self._header.include_text)
        self._journal.publish_as(self._plan.out, columns, ranks=self._ranks)

    def _report(self, *, complete: bool) -> Report:
        return Report(
            batch=self._header.batch,
            complete=complete,
            progress=self._progress(),
            conversations=self._summariser.count,
            tally=self._tally,
            duration_s=time.monotonic() - self._started,
        )
