"""`pointsman classify`: one job and its outcome."""

import sys
from collections.abc import Sequence
from typing import Any

import click

from pointsman_producer.client.client import DEFAULT_TIMEOUT_S
from pointsman_producer.commands import command_line, screen
from pointsman_shared import errors
from pointsman_shared.wire import jobs

STDIN = "-"


@click.command(
    epilog=command_line.examples(
        'pointsman classify "Can I pay you with my Google Pay wallet?"',
        'pointsman classify "when do you open" --user u-1 --attr plan=pro',
        'echo "thanks, bye" | pointsman classify - --json',
    )
)
@click.argument("text")
@click.option(
    "--user", "user_id", metavar="ID", help="The user of the text. [default: none, or cli if described]"
)
@click.option("--email", metavar="ADDRESS", help="The user's e-mail address.")
@click.option("--country", metavar="NAME", help="The user's country.")
@command_line.attributes_option
@command_line.timeout_option(DEFAULT_TIMEOUT_S, least=0.1)
@command_line.json_option
def classify(
    *,
    text: str,
    timeout_s: float,
    as_json: bool,
    **described: Any,  # noqa: ANN401  the options about the user
) -> None:
    """Classify one TEXT, and explain its tier.

    With - as TEXT, the text is read from stdin.
    """
    text = sys.stdin.read().strip() if text == STDIN else text
    if not text.strip():
        msg = "the text is empty: give the words to classify"
        raise errors.InvalidMessageError(msg)
    user = describe_user(**described)
    with command_line.connected() as client:
        outcome = client.classify(text, user=user, timeout_s=timeout_s, ranking=screen.RANKING)
    screen.give(outcome, screen.show_outcome, as_json=as_json)


def describe_user(
    user_id: str | None,
    *,
    email: str | None = None,
    country: str | None = None,
    attributes: Sequence[str] = (),
) -> jobs.User | None:
    """Make a user from the options; return None without any."""
    if user_id == "":
        msg = "--user is empty: leave it out for a text without a user"
        raise click.UsageError(msg)
    if not (user_id or email or country or attributes):
        return None
    custom = command_line.attributes_of(attributes)
    return jobs.User.parse({"id": user_id or "cli", "email": email, "country": country, "custom": custom})
