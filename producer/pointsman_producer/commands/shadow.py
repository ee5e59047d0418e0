"""`pointsman shadow`: how the model that did not serve compares with the one that did. Asked through the queue."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.markup import escape
from rich.table import Table

from pointsman_producer.client.client import Client
from pointsman_producer.commands import command_line
from pointsman_producer.commands import models as registry
from pointsman_producer.files import comparisons as comparison_files
from pointsman_producer.report import page as report_page
from pointsman_producer.report import terminal as report_terminal
from pointsman_shared import errors, names
from pointsman_shared.wire.shadow_report import ShadowReport

CHAMPION = "champion"
VERDICT_OPTIONS = (
    click.option(
        "--alpha",
        type=click.FloatRange(0.0001, 0.5),
        default=0.05,
        show_default=True,
        help="The verdict's error rate.",
    ),
    click.option(
        "--margin",
        type=click.FloatRange(0.0001, 0.5),
        default=0.01,
        show_default=True,
        help="How much accuracy `no worse` may lose.",
    ),
    click.option(
        "--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write a page of its own."
    ),
    command_line.json_option,
)
_Function = TypeVar("_Function", bound=Callable[..., Any])


def report_options(function: _Function) -> _Function:
    """Add the options that every report has."""
    for option in reversed(VERDICT_OPTIONS):
        function = option(function)
    return function


@click.group()
def shadow() -> None:
    """Compare the model that did not serve with the one that did."""


@shadow.command(
    epilog="""\b
Examples:
  pointsman shadow pairs
""",
)
@command_line.json_option
def pairs(*, as_json: bool) -> None:
    """List the pairs of versions that were compared, the latest first."""
    with command_line.connected() as client:
        found = client.shadow.pairs()
    if as_json:
        command_line.emit(found)
    elif found:
        command_line.out.print(_pairs_table(found))
    else:
        command_line.say(
            "Nothing was compared yet: set the flag shadowSampleRate to a share above 0, and classify."
        )


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
@report_options
def report(*, pair: str | None, html: Path | None, alpha: float, margin: float, as_json: bool) -> None:
    """Say how a candidate compares, and whether to switch, with a stated error rate."""
    _check_page(html)
    with command_line.connected() as client:
        served, candidate = choose(client, pair)
        found = client.shadow.report(served, candidate, alpha=alpha, margin=margin)
    _show(found, html, as_json=as_json)


@shadow.command(
    epilog="""\b
A and B are versions, as pro@7, or tiers: pro is its champion, pro@candidate its candidate. FILE is labelled
utterances as training reads them, or transcripts as `pointsman batch` reads them. With --from-predictions it is
JSON lines, JSON or CSV with both models' answers in columns named A and B, and perhaps A_confidence,
B_confidence, label and text. Nothing of it is stored.

\b
Examples:
  pointsman shadow compare base pro data/transcripts.jsonl
  pointsman shadow compare pro@7 pro@8 labelled.csv --html report.html
  pointsman shadow compare rasa bert answers.csv --from-predictions
""",
)
@click.argument("served", metavar="A")
@click.argument("candidate", metavar="B")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--from-predictions", is_flag=True, help="FILE has the answers of two models already.")
@report_options
def compare(
    *,
    served: str,
    candidate: str,
    file: Path,
    from_predictions: bool,
    html: Path | None,
    alpha: float,
    margin: float,
    as_json: bool,
) -> None:
    """Compare A, as if it served, and B on the texts in FILE."""
    _check_page(html)
    if from_predictions:
        answers = comparison_files.read_predictions(file, served, candidate)
        with command_line.connected() as client:
            found = client.shadow.compare_predictions(
                served=served, candidate=candidate, alpha=alpha, margin=margin, **asdict(answers)
            )
    else:
        texts, labels = comparison_files.read_texts(file)
        with command_line.connected() as client:
            one, other = _version(client, served), _version(client, candidate)
            found = client.shadow.compare(one, other, texts, labels, alpha=alpha, margin=margin)
    _show(found, html, as_json=as_json)


def _version(client: Client, name: str) -> str:
    """Find the version that a name means."""
    tier, _, version = name.partition("@")
    if version.isdecimal():
        return name
    versions = client.models("list", tier=tier).result(registry.ANSWER_TIMEOUT_S)
    for line in versions:
        if (version or CHAMPION) in registry.alias(line).split():
            return names.version_name(tier, line["version"])
    msg = f"{name} names no version: expected {tier}@NUMBER, or a tier with a {version or CHAMPION}"
    raise errors.InvalidDataError(msg)


def _check_page(html: Path | None) -> None:
    if html is not None:
        report_page.require_packages()


def _show(found: ShadowReport, html: Path | None, *, as_json: bool) -> None:
    if html is not None:
        report_page.write(found, html)
        command_line.say(f"the report is in {escape(str(html))}")
    if as_json:
        command_line.emit(found)
    else:
        report_terminal.show(command_line.out, found)


def choose(client: Client, pair: str | None) -> tuple[str, str]:
    """Find the pair that is meant: the one named, or the latest.

    Raises:
        InvalidDataError: There is none.
    """
    known = [(entry["served"], entry["candidate"]) for entry in client.shadow.pairs()]
    wanted = [one for one in known if pair is None or pair == names.pair_name(*one)]
    if wanted:
        return wanted[0]
    there_are = ", ".join(names.pair_name(*one) for one in known) or "none: is shadowSampleRate above 0?"
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
