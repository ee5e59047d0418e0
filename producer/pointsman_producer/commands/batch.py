"""`pointsman batch`: a transcript file in, outcomes and conversation summaries out."""

import shlex
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click
from rich import progress
from rich.markup import escape
from rich.table import Table

from pointsman_producer.batch import run as batches
from pointsman_producer.batch.progress import Progress, Watcher
from pointsman_producer.client import in_flight
from pointsman_producer.commands import command_line
from pointsman_producer.deployment import state as local_state
from pointsman_producer.transcripts import reader as transcript_reader
from pointsman_shared import errors

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Without a terminal a line in a log has to do instead of a bar.
LINE_EVERY_S = 5.0
SHOWN_REJECTIONS = 10
SHOWN_INTENTS = 25
# What became of one message; once it was replayed, the others are not done again.
GIVEN_UP = (errors.JobFailedError, errors.PoisonError, errors.TimeLimitError)
SECONDS_PER_MINUTE = 60


@click.command(
    epilog="""\b
Examples:
  pointsman batch transcripts.jsonl -o outcomes.jsonl
  pointsman batch export.csv.gz -o outcomes.parquet --speaker customer --speaker visitor
  pointsman batch transcripts.jsonl -o outcomes.jsonl --resume
"""
)
@click.argument("file")
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the outcomes go: .jsonl, .csv or .parquet.",
)
@click.option(
    "--speaker",
    "speakers",
    multiple=True,
    default=(transcript_reader.CUSTOMER,),
    show_default=True,
    help="Whose turns to classify; may be repeated; all for everybody's.",
)
@click.option("--resume", is_flag=True, help="Complete what an earlier run began.")
@click.option("--force", is_flag=True, help="Begin anew and replace what is there.")
@click.option("--no-text", is_flag=True, help="Leave the texts out of the outcomes.")
@click.option(
    "--batch-id", metavar="ID", help="The batch's id, which its jobs' ids follow from. [default: random]"
)
@click.option(
    "--window",
    type=click.IntRange(1, 1000),
    default=in_flight.DEFAULT_WINDOW,
    show_default=True,
    help="Messages in flight at most.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=1),
    default=in_flight.DEFAULT_TIMEOUT_S,
    show_default=True,
    help="Seconds without any outcome after which to give up.",
)
@command_line.json_option
def batch(
    *,
    file: str,
    out: Path,
    speakers: Sequence[str],
    resume: bool,
    force: bool,
    no_text: bool,
    batch_id: str | None,
    window: int,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Classify the turns in FILE.

    FILE is JSON lines (.jsonl; - for stdin), CSV (.csv) or plain text, one text a line; .gz is welcome. Every
    turn of the speaker gets one outcome, in order, in OUT; every conversation a summary in OUT's sibling
    STEM.conversations.*; lines that cannot be used go to OUT.rejected.jsonl. However it ends, --resume completes
    what is missing.
    """
    if resume and force:
        msg = "--resume and --force exclude each other"
        raise click.UsageError(msg)
    settings = local_state.settings()
    plan = batches.Plan(
        source=file,
        out=out,
        speakers=tuple(dict.fromkeys(speakers)),
        include_text=not no_text,
        resume=resume,
        force=force,
        batch_id=batch_id,
        window=window,
        timeout_s=timeout_s,
    )
    with _resumable(plan), Display() as display:
        report = batches.run(plan, lambda: command_line.connected(settings), display)
    if report is None:
        command_line.say(f"{escape(str(out))} is complete already: nothing is left to do")
    if as_json:
        command_line.emit(_facts(plan, report))
    if report is not None:
        _conclude(plan, report)


@contextmanager
def _resumable(plan: batches.Plan) -> Iterator[None]:
    """Say how to go on, where a run failed that can be gone on with."""
    try:
        yield
    except (errors.RetryableError, *GIVEN_UP) as error:
        if plan.journal.exists() and not isinstance(error, errors.BusyError):
            command_line.say(f"What is done is in {escape(str(plan.journal))}. {_advice(plan)}")
        raise


def _advice(plan: batches.Plan) -> str:
    words = ["pointsman", "batch", plan.source, "-o", str(plan.out)]
    if plan.speakers != (transcript_reader.CUSTOMER,):
        words += [word for speaker in plan.speakers for word in ("--speaker", speaker)]
    if not plan.include_text:
        words.append("--no-text")
    return f"Complete it with: [bold]{escape(shlex.join([*words, '--resume']))}[/]"


class Display(Watcher):
    """Shows on stderr how a run goes: as a bar on a terminal, else as a line now and then. A signal stops the run."""

    def __init__(self) -> None:
        self._stop = False
        self._rejections = 0
        self._started = self._shown = time.monotonic()
        self._began_at = 0
        self._bar = progress.Progress(
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TextColumn("{task.fields[outcomes]:,} texts, {task.fields[rate]:,.0f}/s, left"),
            progress.TimeRemainingColumn(),
            console=command_line.err,
            transient=True,
            disable=not command_line.err.is_terminal,
        )
        self._task = self._bar.add_task("", total=None, outcomes=0, rate=0.0)

    def __enter__(self) -> "Display":
        self._before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop = True
        # Whoever cannot wait asks again; the journal survives that too.
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wants_stop(self) -> bool:
        """Say whether a signal came."""
        return self._stop

    def rejected(self, rejection: transcript_reader.Rejection) -> None:
        """Name the first lines that cannot be used; all of them are in a file."""
        self._rejections += 1
        if self._rejections <= SHOWN_REJECTIONS:
            command_line.say(f"[yellow]rejected[/] line {rejection.line}: {escape(rejection.reason)}")
        elif self._rejections == SHOWN_REJECTIONS + 1:
            command_line.say("[yellow]rejected[/] more lines, which are not shown here")

    def progressed(self, now: Progress) -> None:
        """Move the bar, or say a line."""
        if now.outcomes == now.resumed:
            # What an earlier run did says nothing about the pace of this one.
            self._started, self._began_at = time.monotonic(), now.position
        elapsed_s = time.monotonic() - self._started
        rate = (now.outcomes - now.resumed) / elapsed_s if elapsed_s else 0.0
        self._bar.update(self._task, total=now.size, completed=now.position, outcomes=now.outcomes, rate=rate)
        if self._bar.disable and time.monotonic() - self._shown >= LINE_EVERY_S:
            self._shown = time.monotonic()
            command_line.say(
                f"{now.outcomes:,} texts{_share(now)}, {rate:,.0f}/s{self._left(now, elapsed_s)}"
            )

    def _left(self, now: Progress, elapsed_s: float) -> str:
        if not now.size or now.position <= self._began_at:
            return ""
        left_s = elapsed_s * (now.size - now.position) / (now.position - self._began_at)
        return f", {left_s // SECONDS_PER_MINUTE:.0f} min {left_s % SECONDS_PER_MINUTE:.0f} s left"


def _share(now: Progress) -> str:
    return f" ({now.position / now.size:.0%} of the file)" if now.size else ""


def _facts(plan: batches.Plan, report: batches.Report | None) -> dict[str, object]:
    """Give the summary for programs."""
    if report is None:
        return {"complete": True, "already": True, "out": str(plan.out)}
    return {
        "complete": report.complete,
        "already": False,
        "batch": report.batch,
        "input": plan.source,
        "out": str(plan.out if report.complete else plan.journal),
        "conversations_out": str(plan.conversations) if report.complete else None,
        "rejected_out": str(plan.rejected) if report.progress.rejected else None,
        "outcomes": report.progress.outcomes,
        "resumed": report.progress.resumed,
        "conversations": report.conversations,
        "rejected": report.progress.rejected,
        "out_of_scope_share": report.tally.out_of_scope_share,
        "intents": report.tally.by_intent(),
        "duration_s": round(report.duration_s, 3),
        "texts_per_s": round(_rate(report), 1),
    }


def _rate(report: batches.Report) -> float:
    return (report.progress.outcomes - report.progress.resumed) / report.duration_s


def _conclude(plan: batches.Plan, report: batches.Report) -> None:
    """Tell a person what was done; a run that was stopped ends the command here."""
    if not report.complete:
        done = f"{report.progress.outcomes:,} outcomes{_share(report.progress)} are in {plan.journal}"
        command_line.say(f"stopped: {escape(done)}. {_advice(plan)}")
        click.get_current_context().exit(command_line.INTERRUPTED)
    command_line.err.print(_table(report))
    command_line.say(
        f"{report.progress.outcomes:,} outcomes of {report.conversations:,} conversations, "
        f"{report.tally.out_of_scope_share:.1%} out of scope, {report.progress.rejected:,} lines rejected; "
        f"{report.duration_s:.1f} s, {_rate(report):,.0f} texts/s"
    )
    rejected = [plan.rejected] if report.progress.rejected else []
    for path in (plan.out, plan.conversations, *rejected):
        command_line.say(f"  {escape(str(path))}")


def _table(report: batches.Report) -> Table:
    """Show how many outcomes each intent has of each tier."""
    tiers = report.tally.tiers
    table = Table(box=None, pad_edge=False)
    table.add_column("intent")
    for title in (*tiers, "share"):
        table.add_column(title, justify="right")
    lines = list(report.tally.by_intent().items())
    for intent, counts in lines[:SHOWN_INTENTS]:
        _add_line(table, intent, [counts.get(tier, 0) for tier in tiers], report.tally.total)
    if rest := [counts for _, counts in lines[SHOWN_INTENTS:]]:
        sums = [sum(counts.get(tier, 0) for counts in rest) for tier in tiers]
        _add_line(table, f"{len(rest)} more intents", sums, report.tally.total)
    return table


def _add_line(table: Table, title: str, counts: Sequence[int], total: int) -> None:
    table.add_row(escape(title), *(f"{count:,}" for count in counts), f"{sum(counts) / total:.1%}")
