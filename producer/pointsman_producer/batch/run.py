"""A batch: a transcript file in, one outcome per turn out, in order, none missing, none twice.

While it runs, a journal beside the output (`OUT.partial`, and `OUT.header.partial`) holds the outcomes in the order of
the input; OUT appears when all are there. The input alone decides which turns share a message, and a message's id
follows from the batch's id and its number. So a run that was interrupted anywhere resumes at the end of the journal,
and its output is the same.
"""

import contextlib
import errno
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from pointsman_producer.batch import outcome_rows, summaries
from pointsman_producer.batch.journal import Header, Journal, digest, open_journal
from pointsman_producer.batch.progress import Account, Progress, Watcher
from pointsman_producer.batch.rejects import RejectedLines
from pointsman_producer.client import stream
from pointsman_producer.client.window import DEFAULT_SIZE, DEFAULT_TIMEOUT_S, Chunk, Sent, Submitter, Window
from pointsman_producer.files import tables, writers
from pointsman_producer.transcripts import reader as transcript_reader
from pointsman_shared import errors
from pointsman_shared.wire import jobs

DISK_FULL = {errno.EDQUOT, errno.EIO, errno.ENOSPC}
NOT_WRITABLE = {errno.EACCES, errno.EFBIG, errno.EISDIR, errno.ENAMETOOLONG, errno.EPERM, errno.EROFS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to classify, and where to write the outcomes.

    Attributes:
        source: A transcript file; see `transcripts.Reader`.
        resume: Continue an earlier run, or start if there was none.
        force: Start over and replace the output.
        batch_id: The batch's id; None for a random one.
        window: The most messages in flight.
        timeout_s: How long to wait for the next message's outcomes.
    """

    source: str
    out: Path
    speakers: tuple[str, ...] = (transcript_reader.CUSTOMER,)
    include_text: bool = True
    resume: bool = False
    force: bool = False
    batch_id: str | None = None
    texts_per_message: int = stream.TEXTS_PER_MESSAGE
    window: int = DEFAULT_SIZE
    timeout_s: float = DEFAULT_TIMEOUT_S

    @property
    def journal(self) -> Path:
        """The file of the outcomes until all are there."""
        return self.out.with_name(self.out.name + ".partial")

    @property
    def header(self) -> Path:
        """The file that describes the journal's batch."""
        return self.out.with_name(self.out.name + ".header.partial")

    @property
    def conversations(self) -> Path:
        """The file of the conversation summaries, in the format of the outcomes."""
        return self.out.with_name(f"{self.out.stem}.conversations{self.out.suffix}")

    @property
    def rejected(self) -> Path:
        """The file of the lines that cannot be used, if there are any."""
        return self.out.with_name(self.out.name + ".rejected.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of a run; OUT is there if it is `complete`."""

    batch: str
    complete: bool
    progress: Progress
    conversations: int
    tally: summaries.Tally
    duration_s: float


def run(
    plan: Plan, connect: Callable[[], AbstractContextManager[Submitter]], watcher: Watcher | None = None
) -> Report | None:
    """Classify a transcript file; return None if an earlier run completed it.

    The input and the output are checked before `connect` is called for a client. After a RetryableError or a
    JobFailedError, the journal can be resumed.
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
        # The journal is valid up to its last whole row.
        msg = f"{error.filename or plan.out} cannot be written: {error.strerror}"
        kind = errors.RetryableError if error.errno in DISK_FULL else errors.InvalidDataError
        raise kind(msg) from error


def _run(plan: Plan, connect: Callable[[], AbstractContextManager[Submitter]], watcher: Watcher) -> Report:
    with contextlib.ExitStack() as stack:
        rejects = stack.enter_context(contextlib.closing(RejectedLines(plan.rejected, watcher.rejected)))
        reader = stack.enter_context(
            transcript_reader.Reader(plan.source, speakers=plan.speakers, reject=rejects.add)
        )
        journal, header = open_journal(
            plan.journal,
            plan.header,
            _request_header(plan, reader.size),
            resume=plan.resume,
            batch_id=plan.batch_id,
        )
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
        msg = f"{plan.journal} is there: --resume completes that batch, --force starts over"
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
            sha256=None if size is None else digest(Path(plan.source), size),
            speakers=list(plan.speakers),
            include_text=plan.include_text,
            texts_per_message=plan.texts_per_message,
        )
    except ValidationError as error:
        raise errors.InvalidDataError(jobs.describe(error)) from None


class _StoppedError(Exception):
    """The watcher stops the run. It never leaves this module."""


class _Run:
    """One run over a file, from the first turn to the last."""

    def __init__(
        self,
        *,
        plan: Plan,
        header: Header,
        journal: Journal,
        reader: transcript_reader.Reader,
        rejects: RejectedLines,
        submitter: Submitter,
        watcher: Watcher,
    ) -> None:
        self._plan = plan
        self._header = header
        self._journal = journal
        self._reader = reader
        self._rejects = rejects
        self._watcher = watcher
        self._window = Window(
            submitter,
            source=plan.source,
            size=plan.window,
            timeout_s=plan.timeout_s,
            heed=self._heed_stop,
            secure=journal.sync,
        )
        self._started = time.monotonic()

    def execute(self) -> Report:
        """Run, and publish the files at the end of the input."""
        new = writers.staged(self._plan.conversations)
        table = tables.open_table(new, writers.format_of(self._plan.out), outcome_rows.SUMMARY_COLUMNS)
        summariser = summaries.Summariser(lambda summary: table.write(outcome_rows.summary_row(summary)))
        self._account = Account(
            summariser, self._watcher, size=self._reader.size, rejected=lambda: self._rejects.count
        )
        try:
            with contextlib.closing(table):
                complete = self._classify()
                summariser.close()
            if complete:
                self._publish(new)
        finally:
            new.unlink(missing_ok=True)
        return self._report(conversations=summariser.count, complete=complete)

    def _classify(self) -> bool:
        chunks = stream.chunks(self._reader, self._header.texts_per_message)
        try:
            for sent, reply in stream.replies(chunks, self._window, self._process):
                self._write(sent, reply)
        except _StoppedError:
            self._write_what_is_ready()
            return False
        finally:
            self._window.flush()
        self._check_end()
        return True

    def _heed_stop(self) -> None:
        if self._watcher.wants_stop():
            raise _StoppedError

    def _process(self, chunk: Chunk) -> None:
        """Replay the outcomes that an earlier run wrote of a message, and send it unless these are all."""
        self._heed_stop()
        message_id = stream.message_id(self._header.batch, chunk.number)
        rows = self._journal.replay(len(chunk.turns))
        if rows:
            if not outcome_rows.are_of(chunk, message_id, rows):
                self._refuse_other_input()
            self._account.add_resumed(chunk, rows)
        if len(rows) < len(chunk.turns):
            request = chunk.request(self._header.batch)
            self._journal.keep()
            self._window.send(chunk, request, message_id=message_id, written=len(rows))

    def _refuse_other_input(self) -> None:
        msg = f"{self._journal.path} cannot be resumed: its outcomes are not those of {self._plan.source}"
        raise errors.InvalidDataError(msg)

    def _write(self, sent: Sent, reply: jobs.ClassifyReply) -> None:
        """Write the outcomes of a message to the journal."""
        chunk, written = sent.chunk, sent.written
        lines = outcome_rows.encode_outcomes(
            reply, chunk.owners, chunk.turns, include_text=self._header.include_text
        )
        self._journal.append(lines[written:])
        self._account.add_reply(chunk, reply, start=written)
        self._window.release(sent.handle.id)

    def _write_what_is_ready(self) -> None:
        # The run that resumes this one reports a message that failed.
        with contextlib.suppress(errors.PointsmanError):
            while self._window:
                self._write(*self._window.take_ready())

    def _check_end(self) -> None:
        if self._journal.replay(1):
            self._refuse_other_input()
        if self._account.tally.total == 0 and (self._reader.speakers_seen or self._rejects.count):
            raise errors.InvalidDataError(self._why_nothing())

    def _why_nothing(self) -> str:
        if self._rejects.count and not self._reader.speakers_seen:
            return f"no line of {self._plan.source} can be used: {self._plan.rejected} says why"
        asked, seen = ", ".join(self._header.speakers), ", ".join(sorted(self._reader.speakers_seen))
        return f"{self._plan.source} has no turn by {asked}: choose --speaker among {seen}, or `all`"

    def _publish(self, conversations: Path) -> None:
        writers.publish(conversations, self._plan.conversations)
        columns = outcome_rows.outcome_columns(include_text=self._header.include_text)
        self._journal.publish_as(self._plan.out, columns, ranks=self._account.ranks)

    def _report(self, *, conversations: int, complete: bool) -> Report:
        return Report(
            batch=self._header.batch,
            complete=complete,
            progress=self._account.progress(),
            conversations=conversations,
            tally=self._account.tally,
            duration_s=time.monotonic() - self._started,
        )
