"""`pointsman classify`: one job, and what became of it."""

import sys
from collections.abc import Sequence

import click
from rich.markup import escape

from pointsman_producer.commands import command_line
from pointsman_shared import names
from pointsman_shared.wire import jobs

STDIN = "-"
OTHERS_SHOWN = 2
REASONS = {
    "targeting_rule": "a targeting rule matched",
    "percentage": "a percentage of users",
    "default": "no rule matched",
    "no_config": "no flag configuration yet",
    "error": "the flag could not be evaluated",
}


@click.command(
    epilog="""\b
Examples:
  pointsman classify "Can I pay you with my Google Pay wallet?"
  pointsman classify "when do you open" --user u-1 --attr plan=pro
  echo "thanks, bye" | pointsman classify - --json
"""
)
@click.argument("text")
@click.option(
    "--user", "user_id", metavar="ID", help="Whom the job is for. [default: nobody, or cli if described]"
)
@click.option("--email", metavar="ADDRESS", help="The user's e-mail address.")
@click.option("--country", metavar="NAME", help="The user's country.")
@click.option(
    "--attr", "attributes", metavar="NAME=VALUE", multiple=True, help="A further attribute, as plan=pro."
)
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0.1), default=30.0, show_default=True, help="Seconds."
)
@command_line.json_option
def classify(
    *,
    text: str,
    user_id: str | None,
    email: str | None,
    country: str | None,
    attributes: Sequence[str],
    timeout_s: float,
    as_json: bool,
) -> None:
    """Classify one TEXT and say why it went to its tier.

    TEXT is - to read it from stdin.
    """
    text = sys.stdin.read().strip() if text == STDIN else text
    user = describe_user(user_id, email=email, country=country, attributes=attributes)
    with command_line.connected() as client:
        outcome = client.classify(text, user=user, timeout_s=timeout_s)
    if as_json:
        command_line.emit(outcome)
    else:
        show(outcome)


def describe_user(
    user_id: str | None,
    *,
    email: str | None = None,
    country: str | None = None,
    attributes: Sequence[str] = (),
) -> jobs.User | None:
    """Make a user of what the command line says; None if it says nothing.

    Raises:
        InvalidMessageError: A value breaks a limit of the wire.
    """
    if not (user_id or email or country or attributes):
        return None
    custom = dict(_attribute(pair) for pair in attributes)
    return jobs.User.parse({"id": user_id or "cli", "email": email, "country": country, "custom": custom})


def _attribute(pair: str) -> tuple[str, str]:
    name, equals, value = pair.partition("=")
    if not equals or not name:
        msg = f"--attr {pair}: expected NAME=VALUE, as plan=pro"
        raise click.UsageError(msg)
    return name, value


def show(outcome: jobs.Outcome) -> None:
    """Print an outcome for a person."""
    command_line.out.print(f"[bold]{escape(outcome.intent)}[/]  {_certainty(outcome)}")
    command_line.out.print(f"  tier  {escape(outcome.tier)}, version {outcome.model_version}")
    command_line.out.print(f"  why   {escape(why(outcome.flag))}")
    command_line.out.print(f"  time  {timing(outcome)}", style="dim")


def why(flag: jobs.FlagDecision) -> str:
    """Say what a flag decided and why."""
    value = str(flag.value).lower() if isinstance(flag.value, bool) else flag.value
    variation = f" (variation {flag.variation_id})" if flag.variation_id else ""
    return f"{flag.key} = {value}: {REASONS.get(flag.reason, flag.reason)}{variation}"


def timing(outcome: jobs.Outcome) -> str:
    """Say where the time went."""
    waited = f"{outcome.wait_ms:.0f} ms in the queue, " if outcome.wait_ms is not None else ""
    return f"{waited}{outcome.inference_ms:.1f} ms in the model"


def _certainty(outcome: jobs.Outcome) -> str:
    if outcome.intent == names.OUT_OF_SCOPE:
        # The confidence is that of the nearest intent, which was too low for it.
        return f"[dim]nearest {_shares(outcome.ranking)}[/]"
    others = [ranked for ranked in outcome.ranking if ranked.intent != outcome.intent]
    return f"{outcome.confidence:.0%}" + (f"  [dim]then {_shares(others)}[/]" if others else "")


def _shares(ranking: Sequence[jobs.RankedIntent]) -> str:
    return ", ".join(f"{escape(ranked.intent)} {ranked.confidence:.0%}" for ranked in ranking[:OTHERS_SHOWN])
