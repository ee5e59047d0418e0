"""`pointsman up`: the whole deployment on this machine, until Ctrl-C."""

import os
import time

import click

from pointsman_producer.client import registry
from pointsman_producer.client.client import Client
from pointsman_producer.commands import command_line, screen
from pointsman_producer.deployment import embedded_redis, launcher, signals
from pointsman_producer.deployment import state as local_state
from pointsman_producer.deployment.launcher import Deployment
from pointsman_producer.deployment.log_view import TidyLog
from pointsman_shared import errors
from pointsman_shared.settings import Settings

PORT = click.IntRange(1, 65535)
WELCOME = """
[bold]Pointsman is up[/] (serving processes: {workers}). Ctrl-C stops everything.
  Redis   {redis_url}
  Flower  {flower}
In another terminal, in this folder:
{training}  pointsman classify "Can I pay you with my Google Pay wallet?" --attr plan=pro
  pointsman doctor
"""


@click.command(
    epilog=command_line.examples(
        "pointsman up",
        "pointsman up --workers 4 --train",
        "pointsman up --redis-port 6391 --no-flower",
        note="""\
Ctrl-C (or SIGTERM) stops all processes cleanly, exit code 0; a second one kills them, exit code 130.
With POINTSMAN_REDIS_URL set, the deployment uses that Redis and starts none.""",
    )
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=launcher.DEFAULT_WORKERS,
    help="The number of serving processes.",
)
@click.option(
    "--redis-port", type=PORT, default=embedded_redis.DEFAULT_PORT, help="Port of the embedded Redis."
)
@click.option("--flower/--no-flower", default=True, help="Whether to start Flower.")
@click.option("--flower-port", type=PORT, default=launcher.DEFAULT_FLOWER_PORT, help="Port of Flower.")
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
    with signals.stopping(deployment.stop, deployment.kill) as came:
        try:
            deployment.start()
            deployment.wait_ready()
            welcome(deployment, train_missing=train_missing, as_json=as_json)
            while True:
                # Until a signal handler raises.
                time.sleep(3600)
        except KeyboardInterrupt:
            command_line.say("stopping; a second Ctrl-C kills the remaining programs")
    if len(came) > 1:
        raise click.exceptions.Exit(command_line.INTERRUPTED)
    command_line.say("stopped")


def welcome(deployment: Deployment, *, train_missing: bool, as_json: bool) -> None:
    """Train the missing tiers if asked to, then print the addresses and what to try next."""
    with Client(settings=deployment.settings) as client:
        missing = registry.missing_tiers(client)
        if train_missing:
            for tier in missing:
                # The other tiers may serve.
                try:
                    screen.show_training(screen.train_and_wait(client, tier))
                except errors.PointsmanError as error:
                    command_line.note("not trained", f"tier {tier}: {error}")
            missing = registry.missing_tiers(client)
    url, flower_url = local_state.shown_url(deployment.settings), deployment.flower_url
    if as_json:
        command_line.emit({"redis_url": url, "flower_url": flower_url, "workers": deployment.workers})
    training = "".join(f"  pointsman train {tier}    [dim](it has no model yet)[/]\n" for tier in missing)
    command_line.say(
        WELCOME.format(
            workers=deployment.workers, redis_url=url, flower=flower_url or "not started", training=training
        )
    )
