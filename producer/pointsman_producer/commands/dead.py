"""`pointsman dead`: what will not be tried again by itself; look at it, send it again, forget it."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, TypeVar

import click
from rich.markup import escape
from rich.table import Table

from pointsman_producer.commands import command_line
from pointsman_producer.deployment import state as local_state
from pointsman_shared import errors
from pointsman_shared.store import dead_letters
from pointsman_shared.store.connection import Store
from pointsman_shared.store.dead_letters import DeadLetter, DeadLetters, Filter

_Function = TypeVar("_Function", bound=Callable[..., Any])
# The commands bury no letter, so they need no limit.
MOST = 10_000
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def age(text: str) -> float:
    """Read a length of time, as 90s, 15m, 6h or 2d, in seconds."""
    try:
        return float(text[:-1]) * UNITS[text[-1:]]
    except (ValueError, KeyError):
        msg = f"{text!r} is no age: expected a number and s, m, h or d, as 6h"
        raise click.BadParameter(msg) from None


def filters(function: _Function) -> _Function:
    """Add the options that say which dead letters are meant."""
    for option in (
        click.option(
            "--newer-than", "newer_than_s", metavar="AGE", type=age, help="Only those younger than, as 6h."
        ),
        click.option(
            "--older-than", "older_than_s", metavar="AGE", type=age, help="Only those older than, as 2d."
        ),
        click.option("--batch", help="Only those of a batch."),
        click.option("--reason", type=click.Choice(dead_letters.REASONS), help="Only those of one kind."),
    ):
        function = option(function)
    return function


@click.group()
def dead() -> None:
    """Look at dead letters, send them again, forget them."""


@dead.command(
    "list",
    epilog="""\b
Examples:
  pointsman dead list
  pointsman dead list --reason poison --newer-than 6h
  pointsman dead list --batch 5c1f… --json | jq -r '.[].id'
""",
)
@filters
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many.")
@command_line.json_option
def list_letters(*, limit: int, as_json: bool, **wanted: Any) -> None:  # noqa: ANN401  the filters
    """List dead letters, the latest first; never what their messages say."""
    with connected() as letters:
        found = [letter for letter, _ in zip(letters.find(Filter(**wanted)), range(limit), strict=False)]
        count = letters.count()
    if as_json:
        command_line.emit([shown(letter) for letter in found])
    elif found:
        command_line.out.print(table(found))
        if len(found) < count:
            command_line.say(f"{len(found)} of {count} dead letters.")
    else:
        command_line.say("There is no such dead letter.")


@dead.command(
    epilog="""\b
Examples:
  pointsman dead show 0b6e…
  pointsman dead show 0b6e… --payload --json
"""
)
@click.argument("letter_id", metavar="ID")
@click.option("--payload", is_flag=True, help="Show what the message says, too: it may be private.")
@command_line.json_option
def show(*, letter_id: str, payload: bool, as_json: bool) -> None:
    """Show the dead letter ID."""
    with connected() as letters:
        letter = one(letters, letter_id)
    facts = shown(letter) | ({"payload": letter.arguments()} if payload else {})
    if as_json:
        command_line.emit(facts)
        return
    for name, value in facts.items():
        command_line.out.print(f"  {name:<13}{escape(str(value))}")


@dead.command(
    epilog="""\b
Each goes back to its queue under its own id, and has exactly one outcome after all.

\b
Examples:
  pointsman dead replay 0b6e…
  pointsman dead replay --reason failed --older-than 1h --dry-run
  pointsman dead replay --batch 5c1f…
"""
)
@click.argument("ids", metavar="[ID]...", nargs=-1)
@filters
@click.option("--all", "everything", is_flag=True, help="All that can be sent again.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@command_line.json_option
def replay(*, ids: tuple[str, ...], everything: bool, dry_run: bool, as_json: bool, **wanted: Any) -> None:  # noqa: ANN401  the filters
    """Send dead letters again: those named, or those that fit."""
    with connected() as letters:
        meant = [
            letter
            for letter in choose(letters, ids, Filter(**wanted), everything)
            if ids or is_replayable(letter)
        ]
        done = [letter for letter in meant if dry_run or letters.replay(letter)]
    report("replayed", done, dry_run=dry_run, as_json=as_json)


@dead.command(
    epilog="""\b
Examples:
  pointsman dead purge 0b6e…
  pointsman dead purge --reason malformed --older-than 2d
  pointsman dead purge --all --dry-run
"""
)
@click.argument("ids", metavar="[ID]...", nargs=-1)
@filters
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@command_line.json_option
def purge(*, ids: tuple[str, ...], everything: bool, dry_run: bool, as_json: bool, **wanted: Any) -> None:  # noqa: ANN401  the filters
    """Forget dead letters: those named, or those that fit."""
    with connected() as letters:
        meant = choose(letters, ids, Filter(**wanted), everything)
        done = [letter for letter in meant if dry_run or letters.purge(letter)]
    report("purged", done, dry_run=dry_run, as_json=as_json)


@contextlib.contextmanager
def connected() -> Iterator[DeadLetters]:
    """Give the dead letters of the running deployment.

    Raises:
        BrokerUnavailableError: No Redis answers.
    """
    settings = local_state.settings()
    command_line.require_redis(settings)
    try:
        with Store.connect(settings) as store:
            yield DeadLetters(store, ttl_s=settings.dead_letter_ttl_s, most=MOST)
    except errors.BrokerUnavailableError as error:
        raise command_line.unreachable(settings, error) from error


def choose(letters: DeadLetters, ids: tuple[str, ...], wanted: Filter, everything: bool) -> list[DeadLetter]:
    """Find what a command is to act upon, which has to be said.

    Raises:
        UsageError: Nothing was said.
        InvalidMessageError: There is no dead letter of an id.
    """
    if ids:
        return [one(letters, letter_id) for letter_id in ids]
    if wanted == Filter() and not everything:
        msg = "say which: ids, --reason, --batch, --older-than, --newer-than, or --all"
        raise click.UsageError(msg)
    return list(letters.find(wanted))


def one(letters: DeadLetters, letter_id: str) -> DeadLetter:
    """Find one.

    Raises:
        InvalidMessageError: There is none of that id.
    """
    letter = letters.get(letter_id)
    if letter is None:
        msg = f"there is no dead letter {letter_id}: it was replayed, purged, done after all, or has expired"
        raise errors.InvalidMessageError(msg)
    return letter


def is_replayable(letter: DeadLetter) -> bool:
    """Say whether a letter that was found without its payload can be sent again."""
    return letter.reason != dead_letters.MALFORMED


def shown(letter: DeadLetter) -> dict[str, Any]:
    """Give the facts of a letter without its payload."""
    facts = asdict(letter)
    del facts["payload"], facts["counted"]
    return facts


def table(found: list[DeadLetter]) -> Table:
    """Lay letters out for a person."""
    rows = Table("id", "reason", "died", "queue", "texts", "starts", "what", box=None, pad_edge=False)
    for letter in found:
        died = time.strftime("%m-%d %H:%M:%S", time.localtime(letter.died_at))
        facts = (
            letter.id,
            letter.reason,
            died,
            letter.queue,
            letter.texts or "",
            letter.starts or "",
            letter.detail,
        )
        rows.add_row(*(escape(str(fact)) for fact in facts))
    return rows


def report(what: str, done: list[DeadLetter], *, dry_run: bool, as_json: bool) -> None:
    """Say what was done."""
    if as_json:
        command_line.emit({"done" if not dry_run else "would": what, "ids": [letter.id for letter in done]})
        return
    command_line.say(f"{'would be ' if dry_run else ''}{what}: {len(done)}")
    for letter in done:
        command_line.out.print(escape(letter.id))
