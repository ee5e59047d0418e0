"""`pointsman train`: a training run through the queue, with its progress."""

import concurrent.futures
import contextlib
import getpass
import time
from collections.abc import Iterator, Mapping
from typing import Literal

import click
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pointsman_producer.client.client import Client
from pointsman_producer.client.handles import TaskHandle
from pointsman_producer.commands import command_line
from pointsman_shared import names
from pointsman_shared.wire import jobs

POLL_S = 0.3
ANSWER_TIMEOUT_S = 30.0
SHOWN_METRICS = ("macro_f1", "accuracy", "out_of_scope_recall", "ece", "golden", "golden_failed")


@click.command(
    epilog="""\b
Examples:
  pointsman train base
  pointsman train pro --promote never --json
  pointsman train pro --no-wait
  pointsman train pro --cancel
"""
)
@click.argument("tier")
@click.option(
    "--promote",
    type=click.Choice(["gate", "never"]),
    default="gate",
    show_default=True,
    help="When the version starts serving: if it passes the gate, or never.",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Whether to wait for the result.")
@click.option(
    "--join",
    is_flag=True,
    help="If the tier is being trained already, wait for that run; else that is refused.",
)
@click.option("--cancel", is_flag=True, help="Ask the run that waits or goes on to stop.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=1),
    default=3600.0,
    show_default=True,
    help="Seconds to wait.",
)
@command_line.json_option
def train(
    *, tier: str, promote: str, wait: bool, join: bool, cancel: bool, timeout_s: float, as_json: bool
) -> None:
    """Train TIER and wait for the result.

    The run is done by a trainer; interrupting this command does not stop it. Of each tier, one run goes on at a time.
    """
    asked = promote == "gate"
    on_busy: Literal["join", "refuse"] = "join" if join else "refuse"
    with command_line.connected() as client, _explained_interrupt():
        if cancel or not wait:
            run = client.cancel_training(tier) if cancel else _begin(client, tier, on_busy, promote=asked)
            _show_run(tier, run, cancelled=cancel, as_json=as_json)
            return
        reply = train_and_wait(client, tier, promote=asked, timeout_s=timeout_s, on_busy=on_busy)
    if as_json:
        command_line.emit(reply)
    else:
        show(reply, asked_to_promote=asked)


def _begin(client: Client, tier: str, on_busy: Literal["join", "refuse"], *, promote: bool) -> str:
    return client.train(tier, requested_by=myself(), promote=promote, on_busy=on_busy).id


def _show_run(tier: str, run: str | None, *, cancelled: bool, as_json: bool) -> None:
    if as_json:
        command_line.emit({"tier": tier, "run": run, "cancelled": cancelled and run is not None})
    elif run is None:
        command_line.say(f"tier {escape(tier)} is not being trained")
    elif cancelled:
        command_line.say(f"run {run} of tier {escape(tier)} was asked to stop")
    else:
        command_line.say(f"run {run} of tier {escape(tier)} is under way; see `pointsman models list`")


@contextlib.contextmanager
def _explained_interrupt() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        command_line.say("the run goes on without you; see it later with `pointsman models list`")
        raise


def train_and_wait(
    client: Client,
    tier: str,
    *,
    promote: bool = True,
    timeout_s: float = 3600.0,
    on_busy: Literal["join", "refuse"] = "refuse",
) -> jobs.TrainReply:
    """Train a tier and show its progress on stderr until it is done.

    Raises:
        ResultTimeoutError: It is not done in time, or no trainer took it.
    """
    handle = client.train(tier, requested_by=myself(), promote=promote, on_busy=on_busy)
    deadline = time.monotonic() + timeout_s
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=command_line.err, transient=True, disable=not command_line.err.is_terminal
    ) as bar:
        shown = bar.add_task(f"{tier}: waiting for a trainer", total=1.0)
        while not _is_done(handle) and time.monotonic() < deadline:
            if progress := handle.progress():
                bar.update(shown, description=f"{tier}: {progress.stage}", completed=progress.fraction)
    return handle.result(max(0.0, deadline - time.monotonic()))


def missing_tiers(client: Client) -> list[str]:
    """Ask the registry which of the tiers that the flag chooses between has no champion.

    Raises:
        ResultTimeoutError: No serving worker answered.
    """
    champions = {
        version["tier"] for version in client.models("list").result(ANSWER_TIMEOUT_S) if version["champion"]
    }
    return [tier for tier in (names.BASE_TIER, names.PRO_TIER) if tier not in champions]


def myself() -> str:
    """Name whoever runs this command, for the history."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a user id that has no name.
        return "pointsman"


def _is_done(handle: TaskHandle[jobs.TrainReply]) -> bool:
    return bool(concurrent.futures.wait([handle.future], timeout=POLL_S).done)


def show(reply: jobs.TrainReply, *, asked_to_promote: bool = True) -> None:
    """Print a training run's result for a person."""
    command_line.out.print(
        f"[bold]{escape(reply.tier)}[/] version {reply.version}, trained in {reply.duration_s:.1f} s"
    )
    command_line.out.print(f"  pipeline  {escape(reply.pipeline)}, threshold {reply.threshold:.2f}")
    command_line.out.print(f"  metrics   {escape(shown_metrics(reply.metrics))}")
    command_line.out.print(f"  serving   {escape(_promotion(reply, asked_to_promote=asked_to_promote))}")
    for warning in reply.warnings:
        command_line.say(f"[yellow]warning[/] {escape(warning)}")


def shown_metrics(metrics: Mapping[str, float]) -> str:
    """Give the figures that matter most in one line; `--json` has all."""
    return ", ".join(f"{name} {figure(metrics[name])}" for name in SHOWN_METRICS if name in metrics)


def figure(value: float) -> str:
    """Show a count without and a share with decimals."""
    return f"{value:.0f}" if value.is_integer() else f"{value:.3f}"


def _promotion(reply: jobs.TrainReply, *, asked_to_promote: bool) -> str:
    if reply.promoted:
        return "yes: it is the champion now, and workers take it over within seconds"
    if not asked_to_promote:
        return "no: nobody asked for it"
    if reply.candidate:
        return f"not yet: {'; '.join(reply.reasons)}"
    return f"no: {'; '.join(reply.reasons) or 'it was not promoted'}"
