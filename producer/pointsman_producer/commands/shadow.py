"""`pointsman shadow`: compare the version that did not serve with the one that did, through the queue."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from pointsman_producer.client import registry
from pointsman_producer.commands import command_line, screen
from pointsman_producer.commands.command_line import examples
from pointsman_producer.files import comparisons as comparison_files
from pointsman_producer.files import writers
from pointsman_producer.report import page as report_page
from pointsman_producer.report import terminal as report_terminal
from pointsman_shared.wire.shadow_report import ShadowReport

PAIR_COLUMNS = {name: name for name in ("served", "candidate", "texts", "agreed", "missed")}


def share_option(name: str, default: float, text: str) -> Callable[[Any], Any]:
    """Make an option that takes a share."""
    return click.option(name, type=click.FloatRange(0.0001, 0.5), default=default, help=text)


report_options = command_line.options(
    share_option("--alpha", 0.05, "The verdict's error rate."),
    share_option("--margin", 0.01, "How much accuracy `no worse` may lose."),
    click.option("--html", type=command_line.FILE, help="Also write the report as an HTML page."),
    click.option("--force", is_flag=True, help="Replace an existing page."),
    command_line.json_option,
)


@click.group()
def shadow() -> None:
    """Compare the version that did not serve with the one that did."""


@shadow.command(epilog=examples("pointsman shadow pairs"))
@command_line.json_option
def pairs(*, as_json: bool) -> None:
    """List the compared pairs of versions, the latest first."""
    with command_line.connected() as client:
        found = client.shadow.pairs()
    nothing = f"Nothing was compared yet; there are {registry.NO_PAIR}."
    screen.give_table(found, PAIR_COLUMNS, nothing, as_json=as_json)


@shadow.command(
    epilog=examples(
        "pointsman shadow report",
        'pointsman shadow report "pro@7 vs base@4" --html report.html',
        "pointsman shadow report --json",
        note="PAIR is as `pointsman shadow pairs` shows it. [default: the latest]",
    )
)
@click.argument("pair", required=False)
@report_options
def report(*, pair: str | None, html: Path | None, force: bool, as_json: bool, **limits: Any) -> None:  # noqa: ANN401  `--alpha` and `--margin`
    """Report how a candidate compares, and whether to switch, with a stated error rate."""
    _check_page(html, force=force)
    with command_line.connected() as client:
        found = client.shadow.report(*registry.find_pair(client, pair), **limits)
    _show(found, html, as_json=as_json)


@shadow.command(
    epilog=examples(
        "pointsman shadow compare base pro data/transcripts.jsonl",
        "pointsman shadow compare pro@7 pro@8 labelled.csv --html report.html",
        "pointsman shadow compare rasa bert answers.csv --from-predictions",
        note="""\
A and B are versions, as pro@7, or tiers: pro is its champion, pro@candidate its candidate. FILE has labelled
utterances as training reads them, or transcripts as `pointsman batch` reads them. With --from-predictions, FILE is
JSON lines, JSON or CSV with the answers of both models in the columns A and B, and perhaps A_confidence,
B_confidence, label and text. Nothing is stored.""",
    )
)
@click.argument("served", metavar="A")
@click.argument("candidate", metavar="B")
@click.argument("file", type=command_line.FILE)
@click.option("--from-predictions", is_flag=True, help="FILE has the answers of two models.")
@report_options
def compare(
    *,
    served: str,
    candidate: str,
    file: Path,
    from_predictions: bool,
    html: Path | None,
    force: bool,
    as_json: bool,
    **limits: Any,  # noqa: ANN401  `--alpha` and `--margin`
) -> None:
    """Compare A, as the version that serves, with B on the texts in FILE."""
    _check_page(html, force=force)
    if from_predictions:
        answers = comparison_files.read_predictions(file, served, candidate)
        with command_line.connected() as client:
            found = client.shadow.compare_predictions(served, candidate, answers, **limits)
    else:
        texts, labels = comparison_files.read_texts(file)
        with command_line.connected() as client:
            pair = registry.find_version(client, served), registry.find_version(client, candidate)
            found = client.shadow.compare(*pair, texts, labels, **limits)
    _show(found, html, as_json=as_json)


def _check_page(html: Path | None, *, force: bool) -> None:
    if html is not None:
        writers.require_free(html, force=force)
        report_page.require_packages()


def _show(found: ShadowReport, html: Path | None, *, as_json: bool) -> None:
    if html is not None:
        report_page.write(found, html)
        command_line.say(f"the report is in {escape(str(html))}")
    screen.give(found, lambda report: report_terminal.show(command_line.out, report), as_json=as_json)
