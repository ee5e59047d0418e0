"""`pointsman cancel`: call off what is not done yet."""

import click

from pointsman_producer.commands import command_line


@click.command(
    epilog="""\b
What has an outcome keeps it; what is begun at this moment may still finish, without effect for a message that is named.

\b
Examples:
  pointsman cancel 0b6e…
  pointsman cancel --batch 5c1f…
"""
)
@click.argument("message_ids", metavar="[MESSAGE_ID]...", nargs=-1)
@click.option("--batch", help="What is not begun of a batch.")
@command_line.json_option
def cancel(*, message_ids: tuple[str, ...], batch: str | None, as_json: bool) -> None:
    """Call off messages, or what is not begun of a batch."""
    if bool(message_ids) == bool(batch):
        msg = "say either message ids or --batch"
        raise click.UsageError(msg)
    with command_line.connected() as client:
        if batch:
            client.cancel_batch(batch)
        cancelled = [message_id for message_id in message_ids if client.cancel(message_id)]
    if as_json:
        command_line.emit({"batch": batch, "cancelled": cancelled})
    elif batch:
        command_line.say(f"Batch {batch} was cancelled: workers drop what is left of it as they come to it.")
    else:
        command_line.say(f"cancelled: {len(cancelled)} of {len(message_ids)}; the others have an outcome")
