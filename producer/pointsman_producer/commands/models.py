"""`pointsman models`: the registry, read and changed through the queue, because only workers need access to it."""

from collections.abc import Mapping
from typing import Any

import click
from rich.markup import escape

from pointsman_producer.client import registry
from pointsman_producer.commands import command_line, screen
from pointsman_producer.commands.command_line import examples
from pointsman_shared import names

# The trainer may have to end a training first.
VERIFY_TIMEOUT_S = 3_600.0
LISTED = ("tier", "version", "alias", "created", "by", "pipeline", *screen.SERVED_METRICS)
CHANGE = ("at", "what", "version", "previous", "who", "why")
TIME_CHARS = len("2026-03-02T09:14")

tier_argument = click.argument("tier")
version_argument = click.argument("version", type=click.IntRange(min=1))
perhaps_version = click.argument("version", type=click.IntRange(min=1), required=False)
why_option = click.option("--why", default="", show_default=False, help="The reason, for the history.")


@click.group()
def models() -> None:
    """See the versions in the model registry, and choose which one serves."""


@models.command("list", epilog=examples("pointsman models list", "pointsman models list pro --json"))
@click.argument("tier", required=False)
@command_line.json_option
def list_versions(*, tier: str | None, as_json: bool) -> None:
    """List the versions of TIER, or of every tier."""
    versions = _ask("list", tier=tier)
    rows = versions if as_json else [_listed(version) for version in versions if version["version"]]
    nothing = "There is no version yet: train one with `pointsman train base`."
    screen.give_table(rows, {name: name for name in LISTED}, nothing, as_json=as_json)
    for broken in () if as_json else filter(_problem, versions):
        tier, version = broken["tier"], broken["version"]
        what = f"tier {tier}" if version is None else names.version_name(tier, version)
        command_line.note("broken", f"{what}: {_problem(broken)}")


@models.command("show", epilog=examples("pointsman models show base", "pointsman models show pro 3 --json"))
@tier_argument
@perhaps_version
@command_line.json_option
def show_version(*, tier: str, version: int | None, as_json: bool) -> None:
    """Show one VERSION of TIER, or its champion."""
    (card,) = _ask("show", tier=tier, version=version)
    screen.give(card, show, as_json=as_json)


@models.command("promote", epilog=examples("pointsman models promote pro 4 --why 'the shadow approves'"))
@tier_argument
@version_argument
@why_option
@click.option("--force", is_flag=True, help="Promote even if the gate or the shadow objects; needs --why.")
@command_line.json_option
def promote_version(*, tier: str, version: int, why: str, force: bool, as_json: bool) -> None:
    """Make VERSION of TIER the champion; every worker loads it within seconds.

    The version must have passed the gate against the present champion, and needs the shadow's verdict if the tier
    requires one. The history keeps what --force overrides.
    """
    if force and not why:
        msg = "--force needs --why, for the history"
        raise click.UsageError(msg)
    (change,) = _ask("promote", tier=tier, version=version, why=why, force=force)
    screen.give(change, _show_change, as_json=as_json)


@models.command("nominate", epilog=examples("pointsman models nominate pro 4 --why 'try it on traffic'"))
@tier_argument
@version_argument
@why_option
@command_line.json_option
def nominate_version(*, tier: str, version: int, why: str, as_json: bool) -> None:
    """Make VERSION of TIER the candidate: the shadow compares it with the champion."""
    (change,) = _ask("nominate", tier=tier, version=version, why=why)
    screen.give(change, f"{tier} {version} is the candidate now", as_json=as_json)


@models.command("rollback", epilog=examples("pointsman models rollback pro --why complaints"))
@tier_argument
@why_option
@command_line.json_option
def rollback_tier(*, tier: str, why: str, as_json: bool) -> None:
    """Make the previous champion of TIER the champion again."""
    (change,) = _ask("rollback", tier=tier, why=why)
    screen.give(change, _show_change, as_json=as_json)


@models.command("history", epilog=examples("pointsman models history pro"))
@tier_argument
@command_line.json_option
def show_history(*, tier: str, as_json: bool) -> None:
    """Show which versions of TIER became champion: when, by whom and why."""
    changes = _ask("history", tier=tier)
    rows = changes if as_json else [_told(change) for change in changes]
    screen.give_table(rows, {name: name for name in CHANGE}, "No version was promoted yet.", as_json=as_json)


@models.command("diff", epilog=examples("pointsman models diff pro 3 4"))
@tier_argument
@version_argument
@click.argument("other", type=click.IntRange(min=1), required=False)
@command_line.json_option
def diff_versions(*, tier: str, version: int, other: int | None, as_json: bool) -> None:
    """Show the differences between VERSION of TIER and the OTHER one, or the champion."""
    facts = _ask("diff", tier=tier, version=version, other=other)
    columns = {name: name for name in facts[0]} if facts else {}
    screen.give_table(facts, columns, "They do not differ.", as_json=as_json)


@models.command("prune", epilog=examples("pointsman models prune pro --keep 10"))
@tier_argument
@click.option("--keep", type=click.IntRange(min=1), default=5, help="Newest versions to keep.")
@command_line.json_option
def prune_versions(*, tier: str, keep: int, as_json: bool) -> None:
    """Remove old versions of TIER, but not the champion, the candidate or the previous champion."""
    (answer,) = _ask("prune", tier=tier, keep=keep)
    removed = ", ".join(map(str, answer["removed"])) or "nothing"
    screen.give(answer, f"removed: {removed}", as_json=as_json)


@models.command("verify", epilog=examples("pointsman models verify pro 4", note="Exit code 3 if it differs."))
@tier_argument
@perhaps_version
@command_line.json_option
def verify_version(*, tier: str, version: int | None, as_json: bool) -> None:
    """Recompute the certificate of VERSION of TIER, or of its champion, from the data and compare."""
    (answer,) = _ask("verify", timeout_s=VERIFY_TIMEOUT_S, tier=tier, version=version)
    if as_json:
        command_line.emit(answer)
    elif answer["holds"]:
        command_line.say(f"the certificate of {escape(tier)} {answer['version']} holds")
    else:
        command_line.out.print(escape("\n".join(answer["differences"])))
    if not answer["holds"]:
        raise click.exceptions.Exit(command_line.BAD_INPUT)


def _ask(action: str, *, timeout_s: float = registry.TIMEOUT_S, **fields: Any) -> list[dict[str, Any]]:  # noqa: ANN401  JSON values
    with command_line.connected() as client:
        return client.models(action, requested_by=screen.myself(), **fields).result(timeout_s)


def _told(change: Mapping[str, Any]) -> dict[str, Any]:
    """Add to a forced change that it was forced, and the objections."""
    evidence = change["evidence"]
    if not evidence.get("forced"):
        return dict(change)
    against = "; ".join(evidence.get("against", ()))
    return {**change, "what": f"{change['what']} (forced)", "why": f"{change['why']} (against: {against})"}


def _show_change(change: Mapping[str, Any]) -> None:
    before = f", after version {change['previous']}" if change["previous"] else ""
    command_line.say(f"{escape(change['tier'])} serves version {change['version']} now{before}")


def _problem(version: Mapping[str, Any]) -> str | None:
    # Workers of an older release send none.
    return version.get("problem")


def _listed(version: dict[str, Any]) -> dict[str, Any]:
    return {
        **version,
        "alias": " ".join(registry.roles(version)),
        "created": _minute(version),
        "by": version["requested_by"],
        **{metric: version["metrics"].get(metric) for metric in screen.SERVED_METRICS},
    }


def show(card: dict[str, Any]) -> None:
    """Print the main facts of a version's card for a person."""
    command_line.out.print(
        f"[bold]{escape(card['tier'])}[/] version {card['version']}  {' '.join(registry.roles(card))}"
    )
    screen.show_facts(
        {
            "trained": f"{_minute(card)} by {card['requested_by']} in {card['duration_s']:.1f} s",
            "pipeline": f"{card['pipeline']}, threshold {card['threshold']:.2f}",
            "intents": ", ".join(card["intents"]),
            "examples": ", ".join(f"{part} {count}" for part, count in card["examples"].items()),
            "metrics": ", ".join(f"{name} {screen.figure(value)}" for name, value in card["metrics"].items()),
            "libraries": ", ".join(f"{name} {version}" for name, version in card["libraries"].items()),
            **_judgement(card["certificate"]),
        }
    )
    for warning in card["warnings"]:
        command_line.note("warning", warning)


def _judgement(certificate: Mapping[str, Any] | None) -> dict[str, str]:
    """Describe the findings of the gate and of the shadow."""
    if certificate is None:
        return {"gate": "not judged yet"}
    figures = certificate["figures"]
    lines = {
        "gate": "; ".join(certificate["reasons"]) or "passed",
        "judged by": f"{figures['test_rows']} test rows, {figures['near_copies_left_out']} more left out as near copies",
    }
    if (compared := figures.get("comparison")) is not None:
        gained = compared["macro_f1"] - compared["champion_macro_f1"]
        lines["against"] = (
            f"version {compared['champion']}: macro-F1 {gained:+.3f}, at least {compared['lower_bound']:+.3f}, "
            f"{compared['discordant']} of {compared['rows']} rows differ"
        )
    if verdict := certificate["shadow"]:
        counts = ", ".join(f"{verdict[name]} {name}" for name in ("wins", "ties", "losses"))
        lines["shadow"] = f"{verdict['decision']}, {counts}"
    return lines


def _minute(facts: Mapping[str, Any]) -> str:
    return str(facts["created_at"])[:TIME_CHARS].replace("T", " ")
