"""`pointsman shadow`: how the model that did not serve compares with the one that did. Asked through the queue."""

from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from pointsman_producer import report_html, report_text
from pointsman_producer.client import Client
from pointsman_producer.commands import edge
from pointsman_shared import errors


@click.group()
def shadow() -> None:
    """Compare the model that did not serve with the one that did."""


@shadow.command(
    epilog="""\b
Examples:
  pointsman shadow pairs
""",
)
@edge.json_option
def pairs(*, as_json: bool) -> None:
    """List the pairs of versions that were compared, the latest first."""
    with edge.connected() as client:
        found = client.shadow.pairs()
    if as_json:
        edge.emit(found)
    elif found:
        edge.out.print(_pairs_table(found))
    else:
        edge.say("Nothing was compared yet: set the flag shadowSampleRate to a share above 0, and classify.")


@shadow.command(
    epilog="""\b
PAIR is as `pointsman shadow pairs` shows it. [default: the latest]

\b
Examples:
  pointsman shadow report
  pointsman shadow report "pro@7 vs base@4" --html report.html
  pointsman shadow report --json
""",
)
@click.argument("pair", required=False)
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write a page of its own.")
@click.option(
    "--alpha", type=click.FloatRange(0.0001, 0.5), default=0.05, show_default=True, help="The error rate."
)
@click.option(
    "--margin",
    type=click.FloatRange(0.0001, 0.5),
    default=0.01,
    show_default=True,
    help="How much accuracy `no worse` may lose.",
)
@edge.json_option
def report(*, pair: str | None, html: Path | None, alpha: float, margin: float, as_json: bool) -> None:
    """Say how a candidate compares, and whether to switch, with a stated error rate."""
    if html is not None:
        report_html.require_packages()
    with edge.connected() as client:
        served, candidate = _choose(client, pair)
        found = client.shadow.report(served, candidate, alpha=alpha, margin=margin)
    if html is not None:
        report_html.write(found, html)
        edge.say(f"the report is in {escape(str(html))}")
    if as_json:
        edge.emit(found.model_dump(mode="json"))
    else:
        report_text.show(edge.out, found)


def _choose(client: Client, pair: str | None) -> tuple[str, str]:
    known = [(entry["served"], entry["candidate"]) for entry in client.shadow.pairs()]
    wanted = [names for names in known if pair is None or pair == " vs ".join(names)]
    if wanted:
        return wanted[0]
    there_are = ", ".join(" vs ".join(names) for names in known) or "none: is shadowSampleRate above 0?"
    msg = f"{'nothing was compared yet' if pair is None else f'no pair {pair!r} was compared'}; there are: {there_are}"
    raise errors.InvalidDataError(msg)


def _pairs_table(found: list[dict[str, Any]]) -> Table:
    table = Table("served", "candidate", "texts", "agreed", "missed")
    for entry in found:
        cells = (
            entry["served"],
            entry["candidate"],
            *(f"{entry[name]:,}" for name in ("texts", "agreed", "missed")),
        )
        table.add_row(*map(escape, cells))
    return table
