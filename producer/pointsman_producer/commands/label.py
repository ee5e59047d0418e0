"""`pointsman label`: say what was right. Labels decide which model is better, and training learns from them."""

import click
from rich.markup import escape

from pointsman_producer.commands import edge


@click.command(
    epilog="""\b
Examples:
  pointsman label 0b6e…:3 payment_methods --by ana
""",
)
@click.argument("job")
@click.argument("intent")
@click.option("--by", default="anonymous", show_default=True, help="Who says so.")
@edge.json_option
def label(*, job: str, intent: str, by: str, as_json: bool) -> None:
    """Say that INTENT is the right answer to JOB; a second label corrects the first."""
    with edge.connected() as client:
        client.shadow.label(job, intent, by)
    if as_json:
        edge.emit({"job_id": job, "label": intent, "by": by})
    else:
        edge.say(f"{escape(job)} is {escape(intent)}")
