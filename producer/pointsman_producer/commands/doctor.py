"""`pointsman doctor`: how the deployment is and what to do about it."""

import contextlib

import click
from rich.markup import escape

from pointsman_producer.commands import command_line
from pointsman_producer.deployment import state as local_state
from pointsman_producer.diagnostics import checks
from pointsman_producer.diagnostics import probe as health
from pointsman_shared import errors

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
@command_line.json_option
def doctor(*, as_json: bool) -> None:
    """Check Redis, queues, workers, models and flags, and say what to do."""
    findings = look()
    if as_json:
        command_line.emit(findings)
    else:
        show(findings)
    if any(finding.status == "problem" for finding in findings):
        raise click.exceptions.Exit(command_line.TRY_LATER)


def look() -> list[checks.Finding]:
    """Examine the running deployment."""
    settings = local_state.settings()
    url = local_state.shown_url(settings.redis_url.get_secret_value())
    with contextlib.closing(health.Probe(settings)) as probe:
        try:
            return list(checks.examine(probe, url))
        except errors.BrokerUnavailableError as error:
            raise command_line.unreachable(settings, error) from error


def show(findings: list[checks.Finding]) -> None:
    """Print the findings for a person."""
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        command_line.out.print(f"{MARKS[finding.status]}  {finding.what:<{width}}  {escape(finding.detail)}")
        if finding.advice:
            command_line.out.print(f"{'':9}{'':{width}}  -> {escape(finding.advice)}", style="bold")
