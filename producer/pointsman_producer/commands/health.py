"""`pointsman health`: check one worker, for the health checks of Compose and others."""

import socket

import click

from pointsman_producer.client import single_try
from pointsman_producer.commands import command_line, screen
from pointsman_producer.deployment import state as local_state
from pointsman_shared.store import heartbeat as signs


@click.command(
    epilog=command_line.examples(
        "pointsman health serving",
        "pointsman health trainer@machine-7",
        note="Exit code 0 if the worker heard from its queues lately, 4 otherwise.",
    )
)
@click.argument("node")
@command_line.json_option
def health(*, node: str, as_json: bool) -> None:
    """Check that the worker NODE serves its queues; without @HOST, the worker on this machine."""
    settings = local_state.settings()
    node = node if "@" in node else f"{node}@{socket.gethostname()}"
    command_line.require_redis(settings)
    with single_try.connect(settings) as store:
        serves = signs.is_serving(store, node)
    told = f"{node} {'serves its queues' if serves else 'does not hear from its queues'}"
    screen.give({"node": node, "serving": serves}, told, as_json=as_json)
    if not serves:
        raise click.exceptions.Exit(command_line.TRY_LATER)
