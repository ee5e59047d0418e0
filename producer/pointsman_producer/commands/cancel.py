"""`pointsman cancel`: cancel messages that have no outcome yet."""

import click

from pointsman_producer.commands import command_line, screen


@click.command(
    epilog=command_line.examples(
        "pointsman cancel 0b6e…",
        "pointsman cancel --batch 5c1f…",
        note="A message with an outcome keeps it. A named message that a worker runs now may finish, without any effect.",
    )
)
@click.argument("message_ids", metavar="[MESSAGE_ID]...", nargs=-1)
@click.option("--batch", help="The batch to cancel.")
@command_line.json_option
def cancel(*, message_ids: tuple[str, ...], batch: str | None, as_json: bool) -> None:
    """Cancel messages, or the part of a batch that has not started."""
    if bool(message_ids) == bool(batch):
        msg = "give either message ids or --batch"
        raise click.UsageError(msg)
    is_known = True
    with command_line.connected() as client:
        if batch:
            client.cancel_batch(batch)
            is_known = bool(client.progress(batch))
        cancelled = [message_id for message_id in message_ids if client.cancel(message_id)]
    told = f"cancelled: {len(cancelled)} of {len(message_ids)}; the others have an outcome, or do not exist"
    if batch:
        told = f"Batch {batch} was cancelled: workers drop its remaining messages."
        if not is_known:
            told += " None of its messages has an outcome yet: if you expected some, check the id."
    screen.give({"batch": batch, "cancelled": cancelled}, told, as_json=as_json)
