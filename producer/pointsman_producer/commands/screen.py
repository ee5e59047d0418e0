"""Output that several commands share: tables, an outcome, a training run and its progress."""

import getpass
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from pointsman_producer.client.client import Client
from pointsman_producer.client.handles import TaskHandle
from pointsman_producer.commands import command_line
from pointsman_producer.files import tables
from pointsman_shared import names
from pointsman_shared.wire import jobs

POLL_S = 0.3
TRAIN_TIMEOUT_S = 3600.0
# As users get it: an in-scope text below the threshold counts as wrong.
SERVED_METRICS = ("macro_f1_at_threshold", "accuracy_at_threshold")
SHOWN_METRICS = (*SERVED_METRICS, "out_of_scope_recall", "ece", "golden", "golden_failed")
OTHERS_SHOWN = 2
RANKING = 1 + OTHERS_SHOWN
REASONS = {
    "targeting_rule": "a targeting rule matched",
    "percentage": "a percentage of users",
    "default": "no rule matched",
    "no_config": "no flag configuration yet",
    "error": "the flag could not be evaluated",
}


def give(value: Any, show: Callable[[Any], object] | str, *, as_json: bool) -> None:  # noqa: ANN401  any JSON value
    """Print a value as JSON for programs, or show it to a person, who may also get a plain text instead."""
    if as_json:
        command_line.emit(value)
    elif isinstance(show, str):
        command_line.say(escape(show))
    else:
        show(value)


def give_table(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], nothing: str, *, as_json: bool
) -> None:
    """Print rows as JSON for programs, or as a table for a person, who is told if there are none."""
    if as_json:
        command_line.emit(rows)
    elif not rows:
        command_line.say(nothing)
    else:
        show_table(
            [[row[name] for name in columns] for row in rows], tuple(columns.values()), command_line.out
        )


def show_table(rows: Sequence[Sequence[object]], columns: Sequence[str], console: Console) -> None:
    """Print a table that breaks no word; on a terminal that is too narrow for one, each row as a list."""
    made = tables.table(rows, columns)
    if not console.is_terminal or tables.fit(made, tables.spans(rows, columns), console.width):
        console.print(made)
        return
    for row in rows:
        show_facts(dict(zip(columns, row, strict=True)), console)
        console.print()


def show_facts(facts: Mapping[str, object], console: Console | None = None) -> None:
    """Print facts for a person, one on a line behind its name."""
    width = max(map(len, facts)) + 2
    for name, value in facts.items():
        (console or command_line.out).print(f"  {name:<{width}}{tables.cell(value)}")


def show_outcome(outcome: jobs.Outcome) -> None:
    """Print an outcome for a person."""
    flag = outcome.flag
    value = str(flag.value).lower() if isinstance(flag.value, bool) else flag.value
    variation = f" (variation {flag.variation_id})" if flag.variation_id else ""
    waited = f"{outcome.wait_ms:.0f} ms in the queue, " if outcome.wait_ms is not None else ""
    command_line.out.print(f"[bold]{escape(outcome.intent)}[/]  {_certainty(outcome)}")
    show_facts(
        {
            "tier": f"{outcome.tier}, version {outcome.model_version}",
            "why": f"{flag.key} = {value}: {REASONS.get(flag.reason, flag.reason)}{variation}",
            "time": f"{waited}{outcome.inference_ms:.1f} ms in the model",
        }
    )


def _certainty(outcome: jobs.Outcome) -> str:
    if outcome.intent == names.OUT_OF_SCOPE:
        # The confidence is that of the nearest intent, which was too low for it.
        return f"[dim]nearest {_shares(outcome.ranking)}[/]"
    others = [ranked for ranked in outcome.ranking if ranked.intent != outcome.intent]
    return f"{outcome.confidence:.0%}" + (f"  [dim]then {_shares(others)}[/]" if others else "")


def _shares(ranking: Sequence[jobs.RankedIntent]) -> str:
    return ", ".join(f"{escape(ranked.intent)} {ranked.confidence:.0%}" for ranked in ranking[:OTHERS_SHOWN])


def train_and_wait(client: Client, tier: str) -> jobs.TrainReply:
    """Train a tier, or join the run that trains it already, and show its progress until it is done."""
    return wait_for_training(client.train(tier, requested_by=myself(), on_busy="join"), tier)


def wait_for_training(
    handle: TaskHandle[jobs.TrainReply], tier: str, timeout_s: float = TRAIN_TIMEOUT_S
) -> jobs.TrainReply:
    """Show the progress of a training run on stderr until it is done."""
    deadline = time.monotonic() + timeout_s
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with progress_bar(*columns) as bar:
        shown = bar.add_task(f"{tier}: waiting for a trainer", total=1.0)
        stage = ""
        while not futures.wait([handle.future], POLL_S).done and time.monotonic() < deadline:
            if progress := handle.progress():
                bar.update(shown, description=f"{tier}: {progress.stage}", completed=progress.fraction)
                if not command_line.err.is_terminal and progress.stage != stage:
                    stage = progress.stage
                    command_line.say(escape(f"{tier}: {stage}"))
    return handle.result(max(0.0, deadline - time.monotonic()))


def progress_bar(*columns: ProgressColumn) -> Progress:
    """Make a bar on stderr, which leaves no trace, and is shown on a terminal only."""
    hidden = not command_line.err.is_terminal
    return Progress(*columns, console=command_line.err, transient=True, disable=hidden)


def myself() -> str:
    """Name the person who runs this command, for the history."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a user id without a name.
        return "pointsman"


def show_training(reply: jobs.TrainReply, *, asked_to_promote: bool = True) -> None:
    """Print the result of a training run for a person; `--json` has all metrics."""
    metrics = ", ".join(
        f"{name} {figure(reply.metrics[name])}" for name in SHOWN_METRICS if name in reply.metrics
    )
    command_line.out.print(
        f"[bold]{escape(reply.tier)}[/] version {reply.version}, trained in {reply.duration_s:.1f} s"
    )
    show_facts(
        {
            "pipeline": f"{reply.pipeline}, threshold {reply.threshold:.2f}",
            "metrics": metrics,
            "serving": _promotion(reply, asked_to_promote=asked_to_promote),
        }
    )
    for warning in reply.warnings:
        command_line.note("warning", warning)


def figure(value: float) -> str:
    """Write a count without decimals and a share with them."""
    return f"{value:.0f}" if value.is_integer() else f"{value:.3f}"


def _promotion(reply: jobs.TrainReply, *, asked_to_promote: bool) -> str:
    if reply.promoted:
        return "yes: it is the champion now, and workers load it within seconds"
    if not asked_to_promote:
        return "no: not promoted (--promote never)"
    if reply.candidate:
        return f"not yet: {'; '.join(reply.reasons)}"
    return f"no: {'; '.join(reply.reasons) or 'not promoted'}"
