"""A batch: a transcript file in, one outcome per turn out, in order, none missing, none twice.

While it runs, a journal beside the output (`OUT.partial`, and `OUT.header.partial`) holds the outcomes in the order of
the input; OUT appears when all are there. The input alone decides which turns share a message, and a message's id
follows from the batch's id and its number. So a run that was interrupted anywhere resumes at the end of the journal,
and its output is the same.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from pointsman_producer.batch import outcome_rows, summaries
from pointsman_producer.batch import plan as plans
from pointsman_producer.batch.journal import Header, Journal, open_journal
from pointsman_producer.batch.plan import Plan
from pointsman_producer.batch.progress import Progress, RejectedLines, Watcher
from pointsman_producer.client import stream
from pointsman_producer.client.window import Chunk, Sent, Submitter, Window
from pointsman_producer.files import tables, writers
from pointsman_producer.transcripts import reader as transcript_reader
from pointsman_shared import errors
from pointsman_shared.wire import jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of a run; OUT is there if it is `complete`."""

    batch: str
    complete: bool
    progress: Progress
    conversations: int
    duration_s: float


def run(
    plan: Plan, connect: Callable[[], AbstractContextManager[Submitter]], watcher: Watcher | None = None
) -> Report | None:
    """Classify a transcript file; return None if an earlier run completed it."""
    writers.format_of(plan.out)
    if plan.resume and plan.out.exists() and not plan.journal.exists():
        plan.header.unlink(missing_ok=True)
        return None
    plans.check_outputs(plan)
    # After an error, the journal is valid up to its last whole row.
    with writers.explained(plan.out):
        return _run(plan, connect, watcher or Watcher())


def _run(plan: Plan, connect: Callable[[], AbstractContextManager[Submitter]], watcher: Watcher) -> Report:
    with contextlib.ExitStack() as stack:
        progress = Progress()
        rejects = stack.enter_context(contextlib.closing(RejectedLines(plan.rejected, progress, watcher)))
        reader = stack.enter_context(
            transcript_reader.Reader(plan.source, speakers=plan.speakers, reject=rejects.add)
        )
        progress.size = reader.size
        asked = plans.header(plan, reader.size)
        journal, header = open_journal(
            plan.journal, plan.header, asked, resume=plan.resume, batch_id=plan.batch_id
        )
        stack.callback(journal.close)
        rejects.begin()
        submitter = stack.enter_context(connect())
        return _Run(plan, header, journal, reader, progress, submitter, watcher).execute()


class _StoppedError(Exception):
    """The watcher stops the run. It never leaves this module."""


@dataclass
class _Run:
    """One run over a file, from the first turn to the last."""

    plan: Plan
    header: Header
    journal: Journal
    reader: transcript_reader.Reader
    progress: Progress
    submitter: Submitter
    watcher: Watcher

    def __post_init__(self) -> None:
        self._window = Window(
            self.submitter,
            source=self.plan.source,
            size=self.plan.window,
            timeout_s=self.plan.timeout_s,
            heed=self._heed_stop,
            secure=self.journal.sync,
        )
        self._started = time.monotonic()

    def execute(self) -> Report:
        """Run, and publish the files at the end of the input."""
        new = writers.staged(self.plan.conversations)
        chosen = writers.format_of(self.plan.out)
        try:
            with tables.writing(new, chosen, outcome_rows.SUMMARY_COLUMNS, raw=self.plan.raw) as write:
                self._summariser = summaries.Summariser(write)
                complete = self._classify()
                self._summariser.close()
            if complete:
                writers.publish(new, self.plan.conversations)
                columns = outcome_rows.outcome_columns(include_text=self.header.include_text)
                self.journal.publish_as(self.plan.out, columns, ranks=self.progress.ranks, raw=self.plan.raw)
        finally:
            new.unlink(missing_ok=True)
        return Report(
            batch=self.header.batch,
            complete=complete,
            progress=self.progress,
            conversations=self._summariser.count,
            duration_s=time.monotonic() - self._started,
        )

    def _classify(self) -> bool:
        chunks = stream.chunks(self.reader, self.header.texts_per_message)
        try:
            for sent, reply in stream.replies(chunks, self._window, self._process):
                self._write(sent, reply)
        except _StoppedError:
            # What is ready is written; the run that resumes this one reports a message that failed.
            with contextlib.suppress(errors.PointsmanError):
                while self._window:
                    self._write(*self._window.take_ready())
            return False
        finally:
            self._window.flush()
        self._check_end()
        return True

    def _heed_stop(self) -> None:
        if self.watcher.wants_stop():
            raise _StoppedError

    def _process(self, chunk: Chunk) -> None:
        """Replay the outcomes that an earlier run wrote of a message, and send it unless these are all."""
        self._heed_stop()
        message_id = stream.message_id(self.header.batch, chunk.number)
        rows = self.journal.replay(len(chunk.turns))
        if rows:
            if not outcome_rows.are_of(chunk, message_id, rows):
                self._refuse_other_input()
            self.progress.resume(len(rows), chunk.position)
            self._add(chunk, 0, *([row[name] for row in rows] for name in ("intent", "tier", "ranking")))
        if len(rows) < len(chunk.turns):
            request = chunk.request(self.header.batch, ranking=self.header.ranking)
            if self.plan.force and self.plan.batch_id is not None:
                self.submitter.forget([message_id], batch=None if chunk.number else self.header.batch)
            try:
                self._window.send(chunk, request, message_id=message_id, written=len(rows))
            except errors.ConflictError as error:
                msg = f"batch {self.header.batch} was run before, with other texts: give this one another id"
                raise errors.InvalidDataError(msg, errors.Remedy.START_OVER) from error
            except errors.PointsmanError:
                # It may have been sent all the same.
                self.journal.keep()
                raise
            self.journal.keep()

    def _refuse_other_input(self) -> None:
        msg = f"{self.journal.path} cannot be resumed: its outcomes are not those of {self.plan.source}"
        raise errors.InvalidDataError(msg)

    def _write(self, sent: Sent, reply: jobs.ClassifyReply) -> None:
        """Write the outcomes of a message to the journal."""
        chunk, written = sent.chunk, sent.written
        lines = outcome_rows.encode_outcomes(
            reply, chunk.owners, chunk.turns, include_text=self.header.include_text
        )
        self.journal.append(lines[written:])
        tiers = [reply.routes[route].tier for route in reply.route_of[written:]]
        self._add(chunk, written, reply.intent[written:], tiers, reply.ranking[written:])
        self._window.release(sent.handle.id)

    def _add(
        self,
        chunk: Chunk,
        start: int,
        intents: Sequence[str],
        tiers: Sequence[str],
        rankings: Sequence[Sequence[object]],
    ) -> None:
        """Count the outcomes of a message, from one of its texts on."""
        self._summariser.add(chunk.owners[start : start + len(intents)], intents, tiers)
        self.progress.add(intents, tiers, rankings, chunk.position)
        self.watcher.progressed(self.progress)

    def _check_end(self) -> None:
        """Refuse a journal with more outcomes than the input has, and an input without a turn to classify."""
        if self.journal.replay(1):
            self._refuse_other_input()
        seen = self.reader.speakers_seen
        if self.progress.outcomes:
            return
        if seen:
            asked, others = ", ".join(self.header.speakers), ", ".join(sorted(seen))
            msg = f"{self.plan.source} has no turn by {asked}: choose a speaker among {others}, or `all`"
            raise errors.InvalidDataError(msg, errors.Remedy.OTHER_SPEAKER)
        if not self.progress.rejected:
            msg = f"{self.plan.source}: holds no texts"
            raise errors.InvalidDataError(msg)
        msg = f"no line of {self.plan.source} can be used: {self.plan.rejected} says why"
        raise errors.InvalidDataError(msg)
