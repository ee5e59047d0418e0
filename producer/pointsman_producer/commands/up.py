"""`pointsman up`: the whole deployment on this machine, until Ctrl-C."""

import os
import threading

import click
from pydantic import BaseModel

from pointsman_producer.client import registry
from pointsman_producer.client.client import Client
from pointsman_producer.commands import command_line, screen
from pointsman_producer.deployment import embedded_redis, launcher
from pointsman_producer.deployment import state as local_state
from pointsman_producer.deployment.launcher import Deployment
from pointsman_producer.deployment.log_view import TidyLog
from pointsman_producer.deployment.signals import Interrupts
from pointsman_shared.settings import Settings


class Place(BaseModel):
    """The addresses of the deployment."""

    redis_url: str
    flower_url: str | None
    workers: int


@click.command(
    epilog="""\b
Ctrl-C (or SIGTERM) stops all processes cleanly, exit code 0; a second one kills them, exit code 130.
With POINTSMAN_REDIS_URL set, the deployment uses that Redis and starts none.

\b
Examples:
  pointsman up
  pointsman up --workers 4 --train
  pointsman up --redis-port 6391 --no-flower
"""
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=launcher.DEFAULT_WORKERS,
    show_default=True,
    help="The number of serving processes.",
)
@click.option(
    "--redis-port",
    type=click.IntRange(1, 65535),
    default=embedded_redis.DEFAULT_PORT,
    show_default=True,
    help="Port of the embedded Redis.",
)
@click.option("--flower/--no-flower", default=True, show_default=True, help="Whether to start Flower.")
@click.option(
    "--flower-port",
    type=click.IntRange(1, 65535),
    default=launcher.DEFAULT_FLOWER_PORT,
    show_default=True,
    help="Port of Flower.",
)
@click.option("--train", "train_missing", is_flag=True, help="Train the tiers without a model.")
@command_line.json_option
def up(
    *, workers: int, redis_port: int, flower: bool, flower_port: int, train_missing: bool, as_json: bool
) -> None:
    """Run everything on this machine: Redis, workers, trainer, schedule and Flower.

    All programs listen on the loopback interface only. The other commands find the deployment of their folder.
    """
    settings = Settings.from_env()
    embedded = not os.environ.get(local_state.REDIS_URL_VARIABLE)
    if not embedded:
        command_line.require_redis(
            settings, advice="start it, or unset POINTSMAN_REDIS_URL: then `pointsman up` starts one"
        )
    deployment = Deployment(
        settings,
        workers=workers,
        redis_port=redis_port if embedded else None,
        flower_port=flower_port if flower and launcher.has_flower() else None,
        say=TidyLog(command_line.err),
    )
    run(deployment, train_missing=train_missing, as_json=as_json)


def run(deployment: Deployment, *, train_missing: bool, as_json: bool) -> None:
    """Run a deployment until a signal comes."""
    with Interrupts(deployment.kill) as interrupts:
        try:
            deployment.start()
            deployment.wait_ready()
            welcome(deployment, train_missing=train_missing, as_json=as_json)
            wait_for_signal()
        except KeyboardInterrupt:
            command_line.say("stopping; a second Ctrl-C kills the remaining programs")
        finally:
            interrupts.ending()
            deployment.stop()
        if interrupts.count > 1:
            raise click.exceptions.Exit(command_line.INTERRUPTED)
    command_line.say("stopped")


def wait_for_signal() -> None:
    """Sleep until a signal handler raises."""
    forever = threading.Event()
    while True:
        # A wait with a timeout lets a signal through on every platform.
        forever.wait(3600)


def welcome(deployment: Deployment, *, train_missing: bool, as_json: bool) -> None:
    """Train the missing tiers if asked to, then print the addresses and what to try next."""
    place = Place(
        redis_url=local_state.shown_url(deployment.settings.redis_url.get_secret_value()),
        flower_url=deployment.flower_url,
        workers=deployment.workers,
    )
    with Client(settings=deployment.settings) as client:
        missing = registry.missing_tiers(client)
        if train_missing:
            for tier in missing:
                screen.show_training(screen.train_and_wait(client, tier))
            missing = registry.missing_tiers(client)
    if as_json:
        command_line.emit(place)
    tell(place, missing)


def tell(place: Place, missing: list[str]) -> None:
    """Print the welcome for a person."""
    command_line.say()
    command_line.say(
        f"[bold]Pointsman is up[/] (serving processes: {place.workers}). Ctrl-C stops everything."
    )
    command_line.say(f"  Redis   {place.redis_url}")
    command_line.say(f"  Flower  {place.flower_url or 'not started'}")
    command_line.say("In another terminal, in this folder:")
    for tier in missing:
        command_line.say(f"  pointsman train {tier}    [dim](it has no model yet)[/]")
    command_line.say('  pointsman classify "Can I pay you with my Google Pay wallet?" --attr plan=pro')
    command_line.say("  pointsman doctor")
    command_line.say()
