"""`pointsman batch`: a transcript file in, outcomes and conversation summaries out."""

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich import progress
from rich.markup import escape

from pointsman_producer.batch import run as batches
from pointsman_producer.batch.plan import Plan
from pointsman_producer.batch.progress import Progress, Watcher
from pointsman_producer.client import window
from pointsman_producer.client.client import Client
from pointsman_producer.commands import command_line, screen
from pointsman_producer.deployment import signals
from pointsman_producer.deployment import state as local_state
from pointsman_producer.transcripts import reader as transcript_reader
from pointsman_shared import errors
from pointsman_shared.settings import Settings
from pointsman_shared.wire import jobs

# Without a terminal, a line in the log replaces the bar.
LINE_EVERY_S = 5.0
SHOWN_REJECTIONS = 10
SHOWN_INTENTS = 25
# These errors concern one message; a resumed run does not repeat the others.
GIVEN_UP = (errors.JobFailedError, errors.PoisonError, errors.TimeLimitError)
SECONDS_PER_MINUTE = 60


@click.command(
    epilog=command_line.examples(
        "pointsman batch transcripts.jsonl -o outcomes.jsonl",
        "pointsman batch export.csv.gz -o outcomes.parquet --speaker customer --speaker visitor",
        "pointsman batch transcripts.jsonl -o outcomes.jsonl --resume",
    )
)
@click.argument("source", metavar="FILE")
@command_line.out_option("The file of the outcomes: .jsonl, .csv or .parquet.", required=True)
@click.option(
    "--speaker",
    "speakers",
    multiple=True,
    default=(transcript_reader.CUSTOMER,),
    help="The speaker whose turns are classified; may be repeated; all for every speaker.",
)
@click.option("--resume", is_flag=True, help="Complete an earlier run.")
@click.option("--force", is_flag=True, help="Start over and replace existing files.")
@click.option("--no-text", is_flag=True, help="Leave the texts out of the outcomes.")
@click.option(
    "--ranking",
    type=click.IntRange(1, jobs.MAX_RANKING),
    default=1,
    show_default=True,
    help="How many of the likeliest intents each outcome ranks.",
)
@command_line.raw_option
@click.option(
    "--batch-id", metavar="ID", help="The batch's id, from which its jobs' ids follow. [default: random]"
)
@command_line.timeout_option(window.DEFAULT_TIMEOUT_S, text="Seconds to wait for the next outcome.")
@command_line.json_option
def batch(
    *,
    source: str,
    out: Path,
    speakers: Sequence[str],
    resume: bool,
    force: bool,
    no_text: bool,
    as_json: bool,
    **limits: Any,  # noqa: ANN401  `--ranking`, `--raw`, `--batch-id` and `--timeout`
) -> None:
    """Classify the turns in FILE.

    FILE is JSON lines (.jsonl; - for stdin), CSV (.csv) or plain text with one text a line, plain or .gz. OUT gets
    one outcome for every turn of the speaker, in order; STEM.conversations.* beside it gets a summary of every
    conversation; OUT.rejected.jsonl gets the lines that cannot be used. After an interruption of any kind, --resume
    completes the batch.
    """
    if resume and force:
        msg = "--resume and --force exclude each other"
        raise click.UsageError(msg)
    settings = local_state.settings()
    plan = Plan(
        source=source,
        out=out,
        speakers=tuple(dict.fromkeys(speakers)),
        include_text=not no_text,
        resume=resume,
        force=force,
        **limits,
    )
    with _resumable(plan), Display() as display:
        report = batches.run(plan, lambda: _connected(plan, settings), display)
    if report is None:
        command_line.say(f"{escape(str(out))} is complete already")
    if as_json:
        command_line.emit(_facts(plan, report))
    if report is not None:
        _conclude(plan, report)


@contextmanager
def _connected(plan: Plan, settings: Settings) -> Iterator[Client]:
    """Open a client, and say whether the batch's id was used before."""
    with command_line.connected(settings) as client:
        is_new = plan.batch_id is None or plan.resume or plan.force
        if not is_new and client.progress(str(plan.batch_id)):
            told = f"batch {plan.batch_id} was run before: its stored outcomes are given again; --force classifies anew"
            command_line.note("note", told)
        yield client


@contextmanager
def _resumable(plan: Plan) -> Iterator[None]:
    """After a failure that leaves a journal, say how to resume."""
    try:
        yield
    except (errors.RetryableError, *GIVEN_UP) as error:
        if plan.journal.exists() and not isinstance(error, errors.BusyError):
            command_line.say(f"The outcomes so far are in {escape(str(plan.journal))}. {_advice(plan)}")
        raise


def _advice(plan: Plan) -> str:
    words = ["pointsman", "batch", plan.source, "-o", str(plan.out)]
    if plan.speakers != (transcript_reader.CUSTOMER,):
        words += [word for speaker in plan.speakers for word in ("--speaker", speaker)]
    if not plan.include_text:
        words.append("--no-text")
    if plan.raw:
        words.append("--raw")
    return f"Complete it with: [bold]{escape(shlex.join([*words, '--resume']))}[/]"


class Display(Watcher):
    """Shows a run on stderr: a bar on a terminal, else a line now and then. A signal stops the run."""

    def __init__(self) -> None:
        self._stop = False
        self._rejections = 0
        self._shown = time.monotonic()
        self._bar = screen.progress_bar(
            progress.BarColumn(), progress.TaskProgressColumn(), progress.TextColumn("{task.description}")
        )
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> "Display":
        self._handled = ExitStack()
        self._handled.enter_context(signals.handled(self._on_signal))
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        self._handled.close()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop = True
        # The next signal ends the command at once; the journal survives that too.
        self._handled.close()

    def wants_stop(self) -> bool:
        """Tell whether a signal came."""
        return self._stop

    def rejected(self, rejection: transcript_reader.Rejection) -> None:
        """Name the first lines that cannot be used; the file has all of them."""
        self._rejections += 1
        if self._rejections <= SHOWN_REJECTIONS:
            command_line.note("rejected", f"line {rejection.line}: {rejection.reason}")
        elif self._rejections == SHOWN_REJECTIONS + 1:
            command_line.note("rejected", "more lines, which are not shown here")

    def progressed(self, now: Progress) -> None:
        """Move the bar, or print a line."""
        pace = f"{now.rate:,.0f}/s"
        if (left_s := now.left_s) is not None:
            minutes, seconds = divmod(left_s, SECONDS_PER_MINUTE)
            pace += f", {minutes:.0f} min {seconds:.0f} s left"
        self._bar.update(
            self._task, total=now.size, completed=now.position, description=f"{now.outcomes:,} texts, {pace}"
        )
        if self._bar.disable and time.monotonic() - self._shown >= LINE_EVERY_S:
            self._shown = time.monotonic()
            command_line.say(f"{now.outcomes:,} texts{_share(now)}, {pace}")


def _share(now: Progress) -> str:
    return f" ({now.position / now.size:.0%} of the file)" if now.size else ""


def _facts(plan: Plan, report: batches.Report | None) -> dict[str, object]:
    """Return the summary for programs."""
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
        "out_of_scope_share": report.progress.tally.out_of_scope_share,
        "intents": report.progress.tally.by_intent(),
        "duration_s": round(report.duration_s, 3),
        "texts_per_s": round(_rate(report), 1),
    }


def _rate(report: batches.Report) -> float:
    return (report.progress.outcomes - report.progress.resumed) / report.duration_s


def _conclude(plan: Plan, report: batches.Report) -> None:
    """Print the result for a person; a run that was stopped ends the command here."""
    if not report.complete:
        done = f"{report.progress.outcomes:,} outcomes{_share(report.progress)} are in {plan.journal}"
        command_line.say(f"stopped: {escape(done)}. {_advice(plan)}")
        click.get_current_context().exit(command_line.INTERRUPTED)
    show_counts(report)
    command_line.say(
        f"{report.progress.outcomes:,} outcomes of {report.conversations:,} conversations, "
        f"{report.progress.tally.out_of_scope_share:.1%} out of scope, {report.progress.rejected:,} lines rejected; "
        f"{report.duration_s:.1f} s, {_rate(report):,.0f} texts/s"
    )
    rejected = [plan.rejected] if report.progress.rejected else []
    for path in (plan.out, plan.conversations, *rejected):
        command_line.say(f"  {escape(str(path))}")


def show_counts(report: batches.Report) -> None:
    """Show the outcomes of each intent by tier."""
    tiers, lines = report.progress.tally.tiers, list(report.progress.tally.by_intent().items())
    if rest := lines[SHOWN_INTENTS:]:
        of_rest = {tier: sum(counts.get(tier, 0) for _, counts in rest) for tier in tiers}
        lines[SHOWN_INTENTS:] = [(f"{len(rest)} more intents", of_rest)]
    rows = [
        (
            intent,
            *(counts.get(tier, 0) for tier in tiers),
            f"{sum(counts.values()) / report.progress.outcomes:.1%}",
        )
        for intent, counts in lines
    ]
    screen.show_table(rows, ("intent", *tiers, "share"), command_line.err)
