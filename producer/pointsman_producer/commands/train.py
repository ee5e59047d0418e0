"""`pointsman train`: a training run through the queue, with its progress."""

from functools import partial
from typing import Literal

import click

from pointsman_producer.commands import command_line, screen


@click.command(
    epilog=command_line.examples(
        "pointsman train base",
        "pointsman train pro --promote never --json",
        "pointsman train pro --no-wait",
        "pointsman train pro --cancel",
    )
)
@click.argument("tier")
@click.option(
    "--promote",
    type=click.Choice(["gate", "never"]),
    default="gate",
    help="Promote the version if it passes the gate, or never.",
)
@click.option("--wait/--no-wait", default=True, help="Whether to wait for the result.")
@click.option(
    "--join",
    is_flag=True,
    help="If a training of this tier is running, join it; without --join the command fails.",
)
@click.option("--cancel", is_flag=True, help="Ask the run of this tier, whether it waits or runs, to stop.")
@command_line.timeout_option(screen.TRAIN_TIMEOUT_S)
@command_line.json_option
def train(
    *, tier: str, promote: str, wait: bool, join: bool, cancel: bool, timeout_s: float, as_json: bool
) -> None:
    """Train TIER and wait for the result.

    A trainer does the run; an interruption of this command does not stop it. Each tier has one run at a time.
    """
    asked = promote == "gate"
    on_busy: Literal["join", "refuse"] = "join" if join else "refuse"
    with command_line.connected() as client:
        if cancel:
            run = client.cancel_training(tier)
            told = (
                f"run {run} of tier {tier} was asked to stop" if run else f"tier {tier} has no training run"
            )
            screen.give({"tier": tier, "run": run, "cancelled": run is not None}, told, as_json=as_json)
            return
        handle = client.train(tier, requested_by=screen.myself(), promote=asked, on_busy=on_busy)
        if not wait:
            told = f"run {handle.id} of tier {tier} is submitted; see `pointsman models list`"
            screen.give({"tier": tier, "run": handle.id, "cancelled": False}, told, as_json=as_json)
            return
        try:
            reply = screen.wait_for_training(handle, tier, timeout_s)
        except KeyboardInterrupt:
            command_line.say("the training run continues; see its result with `pointsman models list`")
            raise
    screen.give(reply, partial(screen.show_training, asked_to_promote=asked), as_json=as_json)
