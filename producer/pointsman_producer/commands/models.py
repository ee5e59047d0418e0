"""`pointsman models`: what is in the registry, asked through the queue, since only workers need reach it."""

from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from pointsman_producer.commands import edge
from pointsman_producer.commands import train as training

ANSWER_TIMEOUT_S = 30.0
LISTED_METRICS = ("macro_f1", "accuracy")
TIME_CHARS = len("2026-03-02T09:14")


@click.group()
def models() -> None:
    """See what is in the model registry."""


@models.command(
    "list",
    epilog="""\b
Examples:
  pointsman models list
  pointsman models list pro --json
""",
)
@click.argument("tier", required=False)
@edge.json_option
def list_versions(*, tier: str | None, as_json: bool) -> None:
    """List the versions of TIER, or of every tier."""
    with edge.connected() as client:
        versions = client.models("list", tier=tier).result(ANSWER_TIMEOUT_S)
    if as_json:
        edge.emit(versions)
    elif versions:
        edge.out.print(versions_table(versions))
    else:
        edge.say("There is no version yet: train one with `pointsman train base`.")


@models.command(
    "show",
    epilog="""\b
Examples:
  pointsman models show base
  pointsman models show pro 3 --json
""",
)
@click.argument("tier")
@click.argument("version", type=click.IntRange(min=1), required=False)
@edge.json_option
def show_version(*, tier: str, version: int | None, as_json: bool) -> None:
    """Show one VERSION of TIER, or its champion."""
    with edge.connected() as client:
        (card,) = client.models("show", tier=tier, version=version).result(ANSWER_TIMEOUT_S)
    if as_json:
        edge.emit(card)
    else:
        show(card)


def versions_table(versions: Sequence[Mapping[str, Any]]) -> Table:
    """Lay the versions out for a person."""
    table = Table("tier", "version", "alias", "created", "by", "pipeline", box=None, pad_edge=False)
    for metric in LISTED_METRICS:
        table.add_column(metric, justify="right")
    for line in versions:
        metrics = [_figure(line["metrics"].get(metric)) for metric in LISTED_METRICS]
        facts = (
            line["tier"],
            line["version"],
            alias(line),
            _minute(line),
            line["requested_by"],
            line["pipeline"],
        )
        table.add_row(*(escape(str(fact)) for fact in facts), *metrics)
    return table


def show(card: Mapping[str, Any]) -> None:
    """Print a version's card for a person; `--json` has all of it."""
    edge.out.print(f"[bold]{escape(card['tier'])}[/] version {card['version']}  {alias(card)}")
    lines = {
        "trained": f"{_minute(card)} by {card['requested_by']} in {card['duration_s']:.1f} s",
        "pipeline": f"{card['pipeline']}, threshold {card['threshold']:.2f}",
        "intents": ", ".join(card["intents"]),
        "examples": ", ".join(f"{part} {count}" for part, count in card["examples"].items()),
        "metrics": ", ".join(f"{name} {_figure(value)}" for name, value in card["metrics"].items()),
        "libraries": ", ".join(f"{name} {version}" for name, version in card["libraries"].items()),
    }
    for name, line in lines.items():
        edge.out.print(f"  {name:<10}{escape(line)}")
    for warning in card["warnings"]:
        edge.say(f"[yellow]warning[/] {escape(warning)}")


def alias(facts: Mapping[str, Any]) -> str:
    """Say what a version is used as."""
    return " ".join(name for name in ("champion", "candidate") if facts.get(name))


def _minute(facts: Mapping[str, Any]) -> str:
    return str(facts["created_at"])[:TIME_CHARS].replace("T", " ")


def _figure(value: float | None) -> str:
    return "" if value is None else training.figure(value)
