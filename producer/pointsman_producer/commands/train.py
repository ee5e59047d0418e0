"""`pointsman train`: a training run through the queue, with its progress."""

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Literal

import click
from rich.markup import escape

from pointsman_producer.client.client import Client
from pointsman_producer.commands import command_line, screen


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
    help="Promote the version if it passes the gate, or never.",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Whether to wait for the result.")
@click.option(
    "--join",
    is_flag=True,
    help="If a training of this tier is running, join it; without --join the command fails.",
)
@click.option("--cancel", is_flag=True, help="Ask the run of this tier, whether it waits or runs, to stop.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=1),
    default=screen.TRAIN_TIMEOUT_S,
    show_default=True,
    help="Seconds to wait.",
)
@command_line.json_option
def train(
    *, tier: str, promote: str, wait: bool, join: bool, cancel: bool, timeout_s: float, as_json: bool
) -> None:
    """Train TIER and wait for the result.

    A trainer does the run; an interruption of this command does not stop it. Each tier has one run at a time.
    """
    asked = promote == "gate"
    on_busy: Literal["join", "refuse"] = "join" if join else "refuse"
    with command_line.connected() as client, _explained_interrupt():
        if cancel or not wait:
            run = client.cancel_training(tier) if cancel else _start(client, tier, on_busy, promote=asked)
            _show_run(tier, run, cancelled=cancel, as_json=as_json)
            return
        reply = screen.train_and_wait(client, tier, promote=asked, timeout_s=timeout_s, on_busy=on_busy)
    screen.give(reply, partial(screen.show_training, asked_to_promote=asked), as_json=as_json)


def _start(client: Client, tier: str, on_busy: Literal["join", "refuse"], *, promote: bool) -> str:
    return client.train(tier, requested_by=screen.myself(), promote=promote, on_busy=on_busy).id


def _show_run(tier: str, run: str | None, *, cancelled: bool, as_json: bool) -> None:
    if as_json:
        command_line.emit({"tier": tier, "run": run, "cancelled": cancelled and run is not None})
    elif run is None:
        command_line.say(f"tier {escape(tier)} has no training run")
    elif cancelled:
        command_line.say(f"run {run} of tier {escape(tier)} was asked to stop")
    else:
        command_line.say(f"run {run} of tier {escape(tier)} is submitted; see `pointsman models list`")


@contextlib.contextmanager
def _explained_interrupt() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        command_line.say("the training run continues; see its result with `pointsman models list`")
        raise
