"""`pointsman doctor`: how the deployment is and what to do about it."""

import contextlib

import click
from redis.exceptions import RedisError
from rich.markup import escape

from pointsman_producer import checkup, health, local
from pointsman_producer.commands import edge

MARKS = {"ok": "[green]ok     [/]", "warning": "[yellow]warning[/]", "problem": "[red]problem[/]"}


@click.command(
    epilog="""\b
Exit code 0 when nothing is broken (warnings may be shown), 4 otherwise.

\b
Examples:
  pointsman doctor
  pointsman doctor --json | jq '.[] | select(.status != "ok")'
"""
)
@edge.json_option
def doctor(*, as_json: bool) -> None:
    """Check Redis, queues, workers, models and flags, and say what to do."""
    findings = look()
    if as_json:
        edge.emit(findings)
    else:
        show(findings)
    if any(finding.status == "problem" for finding in findings):
        raise click.exceptions.Exit(edge.TRY_LATER)


def look() -> list[checkup.Finding]:
    """Examine the running deployment."""
    settings = local.settings()
    url = local.shown_url(settings.redis_url.get_secret_value())
    with contextlib.closing(health.Probe(settings)) as probe:
        try:
            return list(checkup.examine(probe, url))
        except RedisError as error:
            raise edge.unreachable(settings, error) from error


def show(findings: list[checkup.Finding]) -> None:
    """Print the findings for a person."""
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        edge.out.print(f"{MARKS[finding.status]}  {finding.what:<{width}}  {escape(finding.detail)}")
        if finding.advice:
            edge.out.print(f"{'':9}{'':{width}}  -> {escape(finding.advice)}", style="bold")
