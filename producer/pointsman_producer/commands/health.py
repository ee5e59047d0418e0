"""`pointsman health`: whether one worker serves its queues, for the health checks of Compose and others."""

import socket

import click
from redis import Redis

from pointsman_producer import local
from pointsman_producer.commands import edge
from pointsman_shared import health as signs


@click.command(
    epilog="""\b
Exit code 0 when the worker heard from its queues lately, 4 otherwise.

\b
Examples:
  pointsman health serving
  pointsman health trainer@machine-7
"""
)
@click.argument("node")
@edge.json_option
def health(*, node: str, as_json: bool) -> None:
    """Say whether the worker NODE serves its queues; without @HOST, the one on this machine."""
    settings = local.settings()
    node = node if "@" in node else f"{node}@{socket.gethostname()}"
    edge.require_redis(settings)
    with Redis.from_url(settings.redis_url.get_secret_value(), **edge.ASK_ONCE) as redis:
        serves = signs.is_serving(redis, node)
    if as_json:
        edge.emit({"node": node, "serving": serves})
    else:
        edge.say(f"{node} {'serves its queues' if serves else 'does not hear from its queues'}")
    if not serves:
        raise click.exceptions.Exit(edge.TRY_LATER)
