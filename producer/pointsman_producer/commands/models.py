"""`pointsman models`: the registry, asked and changed through the queue, since only workers need reach it."""

from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from pointsman_producer.commands import command_line
from pointsman_producer.commands import train as training

ANSWER_TIMEOUT_S = 30.0
# A trainer may have to end a training first.
VERIFY_TIMEOUT_S = 3_600.0
LISTED_METRICS = ("macro_f1", "accuracy")
TIME_CHARS = len("2026-03-02T09:14")


@click.group()
def models() -> None:
    """See what is in the model registry, and say which version serves."""


@models.command(
    "list",
    epilog="""\b
Examples:
  pointsman models list
  pointsman models list pro --json
""",
)
@click.argument("tier", required=False)
@command_line.json_option
def list_versions(*, tier: str | None, as_json: bool) -> None:
    """List the versions of TIER, or of every tier."""
    with command_line.connected() as client:
        versions = client.models("list", tier=tier).result(ANSWER_TIMEOUT_S)
    if as_json:
        command_line.emit(versions)
    elif versions:
        command_line.out.print(versions_table(versions))
    else:
        command_line.say("There is no version yet: train one with `pointsman train base`.")


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
@command_line.json_option
def show_version(*, tier: str, version: int | None, as_json: bool) -> None:
    """Show one VERSION of TIER, or its champion."""
    with command_line.connected() as client:
        (card,) = client.models("show", tier=tier, version=version).result(ANSWER_TIMEOUT_S)
    if as_json:
        command_line.emit(card)
    else:
        show(card)


@models.command(
    "promote", epilog="\b\nExamples:\n  pointsman models promote pro 4 --why 'the shadow approves'"
)
@click.argument("tier")
@click.argument("version", type=click.IntRange(min=1))
@click.option("--why", default="", help="The reason, for the history.")
@click.option("--force", is_flag=True, help="Also if the gate or the shadow speaks against it; needs --why.")
@command_line.json_option
def promote_version(*, tier: str, version: int, why: str, force: bool, as_json: bool) -> None:
    """Make VERSION of TIER the champion; every worker takes it over within seconds.

    It has to have passed the gate, against the champion that serves now, and to have the shadow's verdict where
    the tier requires that. What --force overrides is kept in the history.
    """
    if force and not why:
        msg = "--force needs --why: the history keeps it"
        raise click.UsageError(msg)
    (change,) = _ask("promote", tier=tier, version=version, why=why, force=force)
    _show_change(change, as_json=as_json)


@models.command(
    "nominate", epilog="\b\nExamples:\n  pointsman models nominate pro 4 --why 'try it on traffic'"
)
@click.argument("tier")
@click.argument("version", type=click.IntRange(min=1))
@click.option("--why", default="", help="The reason, for the history.")
@command_line.json_option
def nominate_version(*, tier: str, version: int, why: str, as_json: bool) -> None:
    """Make VERSION of TIER the candidate, which the shadow compares with the champion."""
    (change,) = _ask("nominate", tier=tier, version=version, why=why)
    if as_json:
        command_line.emit(change)
    else:
        command_line.say(f"{escape(tier)} {version} is the candidate now")


@models.command("rollback", epilog="\b\nExamples:\n  pointsman models rollback pro --why complaints")
@click.argument("tier")
@click.option("--why", default="", help="The reason, for the history.")
@command_line.json_option
def rollback_tier(*, tier: str, why: str, as_json: bool) -> None:
    """Make the champion before this one champion of TIER again."""
    (change,) = _ask("rollback", tier=tier, why=why)
    _show_change(change, as_json=as_json)


@models.command("history", epilog="\b\nExamples:\n  pointsman models history pro")
@click.argument("tier")
@command_line.json_option
def show_history(*, tier: str, as_json: bool) -> None:
    """Show who made which version of TIER serve, when and why."""
    changes = _ask("history", tier=tier)
    if not as_json:
        changes = [_told(change) for change in changes]
    columns = ("at", "what", "version", "previous", "who", "why")
    _show_table(changes, columns, "Nothing was promoted yet.", as_json=as_json)


@models.command("diff", epilog="\b\nExamples:\n  pointsman models diff pro 3 4")
@click.argument("tier")
@click.argument("version", type=click.IntRange(min=1))
@click.argument("other", type=click.IntRange(min=1), required=False)
@command_line.json_option
def diff_versions(*, tier: str, version: int, other: int | None, as_json: bool) -> None:
    """Show where VERSION of TIER and the OTHER one, or the champion, differ."""
    facts = _ask("diff", tier=tier, version=version, other=other)
    columns = tuple(facts[0]) if facts else ()
    _show_table(facts, columns, "They do not differ.", as_json=as_json)


@models.command("prune", epilog="\b\nExamples:\n  pointsman models prune pro --keep 10")
@click.argument("tier")
@click.option(
    "--keep", type=click.IntRange(min=1), default=5, show_default=True, help="Newest versions to keep."
)
@command_line.json_option
def prune_versions(*, tier: str, keep: int, as_json: bool) -> None:
    """Remove old versions of TIER; never the champion, the candidate or the one to roll back to."""
    (answer,) = _ask("prune", tier=tier, keep=keep)
    if as_json:
        command_line.emit(answer)
    else:
        command_line.say(f"removed: {', '.join(map(str, answer['removed'])) or 'nothing'}")


@models.command(
    "verify", epilog="\b\nExit code 3 if it differs.\n\nExamples:\n  pointsman models verify pro 4"
)
@click.argument("tier")
@click.argument("version", type=click.IntRange(min=1), required=False)
@command_line.json_option
def verify_version(*, tier: str, version: int | None, as_json: bool) -> None:
    """Work the certificate of VERSION of TIER, or of its champion, out again from the data."""
    (answer,) = _ask("verify", timeout_s=VERIFY_TIMEOUT_S, tier=tier, version=version)
    if as_json:
        command_line.emit(answer)
    elif answer["holds"]:
        command_line.say(f"the certificate of {escape(tier)} {answer['version']} holds")
    else:
        for line in answer["differences"]:
            command_line.out.print(escape(line))
    if not answer["holds"]:
        raise click.exceptions.Exit(command_line.BAD_INPUT)


def _ask(action: str, *, timeout_s: float = ANSWER_TIMEOUT_S, **fields: Any) -> list[dict[str, Any]]:  # noqa: ANN401  JSON values
    with command_line.connected() as client:
        return client.models(action, requested_by=training.myself(), **fields).result(timeout_s)


def _told(change: Mapping[str, Any]) -> dict[str, Any]:
    """Say what of a change's evidence a reader of the table should not miss."""
    evidence = change["evidence"]
    if not evidence.get("forced"):
        return dict(change)
    against = "; ".join(evidence.get("against", ()))
    return {**change, "what": f"{change['what']} (forced)", "why": f"{change['why']} (against: {against})"}


def _show_change(change: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        command_line.emit(change)
        return
    before = f", after version {change['previous']}" if change["previous"] else ""
    command_line.say(f"{escape(change['tier'])} serves version {change['version']} now{before}")


def _show_table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], nothing: str, *, as_json: bool
) -> None:
    if as_json:
        command_line.emit(rows)
    elif rows:
        table = Table(*columns, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*("" if row[name] is None else escape(str(row[name])) for name in columns))
        command_line.out.print(table)
    else:
        command_line.say(nothing)


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
    command_line.out.print(f"[bold]{escape(card['tier'])}[/] version {card['version']}  {alias(card)}")
    lines = {
        "trained": f"{_minute(card)} by {card['requested_by']} in {card['duration_s']:.1f} s",
        "pipeline": f"{card['pipeline']}, threshold {card['threshold']:.2f}",
        "intents": ", ".join(card["intents"]),
        "examples": ", ".join(f"{part} {count}" for part, count in card["examples"].items()),
        "metrics": ", ".join(f"{name} {_figure(value)}" for name, value in card["metrics"].items()),
        "libraries": ", ".join(f"{name} {version}" for name, version in card["libraries"].items()),
        **_judgement(card["certificate"]),
    }
    for name, line in lines.items():
        command_line.out.print(f"  {name:<10}{escape(line)}")
    for warning in card["warnings"]:
        command_line.say(f"[yellow]warning[/] {escape(warning)}")


def _judgement(certificate: Mapping[str, Any] | None) -> dict[str, str]:
    """Say what the gate found, and the shadow."""
    if certificate is None:
        return {"gate": "never judged"}
    figures = certificate["figures"]
    compared = figures.get("comparison")
    lines = {
        "gate": "; ".join(certificate["reasons"]) or "passed",
        "judged by": f"{figures['test_rows']} test rows, {figures['near_copies_left_out']} more left out as near copies",
    }
    if compared is not None:
        gained = compared["macro_f1"] - compared["champion_macro_f1"]
        lines["against"] = (
            f"version {compared['champion']}: macro-F1 {gained:+.3f}, at least {compared['lower_bound']:+.3f}, "
            f"{compared['discordant']} of {compared['rows']} rows told them apart"
        )
    if verdict := certificate["shadow"]:
        lines["shadow"] = (
            f"{verdict['decision']}, {verdict['wins']} wins, {verdict['ties']} ties, {verdict['losses']} losses"
        )
    return lines


def alias(facts: Mapping[str, Any]) -> str:
    """Say what a version is used as."""
    return " ".join(name for name in ("champion", "candidate") if facts.get(name))


def _minute(facts: Mapping[str, Any]) -> str:
    return str(facts["created_at"])[:TIME_CHARS].replace("T", " ")


def _figure(value: float | None) -> str:
    return "" if value is None else training.figure(value)
