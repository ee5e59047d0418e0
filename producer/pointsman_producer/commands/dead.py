"""`pointsman dead`: messages that are not tried again: look at them, send them again, delete them."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import click
from rich.markup import escape

from pointsman_producer.commands import command_line, screen
from pointsman_producer.deployment import state as local_state
from pointsman_shared import errors
from pointsman_shared.store import dead_letters
from pointsman_shared.store.connection import Store
from pointsman_shared.store.dead_letters import DeadLetter, DeadLetters, Filter

# The commands bury no letter, so they need no limit.
COLUMNS = {
    "id": "id",
    "reason": "reason",
    "died": "died",
    "queue": "queue",
    "texts": "texts",
    "attempts": "attempts",
    "detail": "what",
}
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def age(text: str) -> float:
    """Read a duration, as 90s, 15m, 6h or 2d, in seconds."""
    try:
        return float(text[:-1]) * UNITS[text[-1:]]
    except (ValueError, KeyError):
        msg = f"{text!r} is not an age: expected a number and s, m, h or d, as 6h"
        raise click.BadParameter(msg) from None


filters = command_line.options(
    click.option("--reason", type=click.Choice(dead_letters.REASONS), help="Only letters of one kind."),
    click.option("--batch", help="Only letters of a batch."),
    click.option(
        "--older-than",
        "older_than_s",
        metavar="AGE",
        type=age,
        help="Only letters older than this, as 2d.",
    ),
    click.option(
        "--newer-than",
        "newer_than_s",
        metavar="AGE",
        type=age,
        help="Only letters younger than this, as 6h.",
    ),
)
# The options of commands that act on letters.
selection = command_line.options(
    click.argument("ids", metavar="[ID]...", nargs=-1),
    filters,
    click.option("--all", "everything", is_flag=True, help="All letters."),
    click.option("--dry-run", is_flag=True, help="Only list the letters that would be meant."),
    command_line.json_option,
)


@click.group()
def dead() -> None:
    """Look at dead letters, send them again, delete them."""


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
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="The most letters.")
@command_line.json_option
def list_letters(*, limit: int, as_json: bool, **wanted: Any) -> None:  # noqa: ANN401  the filters
    """List dead letters, the latest first, without their messages."""
    with connected() as letters:
        found = [letter for letter, _ in zip(letters.find(Filter(**wanted)), range(limit), strict=False)]
        count = letters.count()
    rows = [shown(letter) if as_json else row(letter) for letter in found]
    screen.give_table(rows, COLUMNS, "There is no such dead letter.", as_json=as_json)
    if found and len(found) < count and not as_json:
        command_line.say(f"{len(found)} of {count} dead letters.")


@dead.command(
    epilog="""\b
Examples:
  pointsman dead show 0b6e…
  pointsman dead show 0b6e… --payload --json
"""
)
@click.argument("letter_id", metavar="ID")
@click.option("--payload", is_flag=True, help="Also show the message, which may be private.")
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
        command_line.out.print(f"  {name:<13}{screen.cell(str(value))}")


@dead.command(
    epilog="""\b
Each message returns to its queue under its own id, and still gets exactly one outcome.

\b
Examples:
  pointsman dead replay 0b6e…
  pointsman dead replay --reason failed --older-than 1h --dry-run
  pointsman dead replay --batch 5c1f…
"""
)
@selection
def replay(*, ids: tuple[str, ...], everything: bool, dry_run: bool, as_json: bool, **wanted: Any) -> None:  # noqa: ANN401  the filters
    """Send dead letters again: the named ones, or those that the options select."""
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
@selection
def purge(*, ids: tuple[str, ...], everything: bool, dry_run: bool, as_json: bool, **wanted: Any) -> None:  # noqa: ANN401  the filters
    """Delete dead letters: the named ones, or those that the options select."""
    with connected() as letters:
        meant = choose(letters, ids, Filter(**wanted), everything)
        done = [letter for letter in meant if dry_run or letters.purge(letter)]
    report("purged", done, dry_run=dry_run, as_json=as_json)


@contextlib.contextmanager
def connected() -> Iterator[DeadLetters]:
    """Open the dead letters of the running deployment."""
    settings = local_state.settings()
    command_line.require_redis(settings)
    try:
        with Store.connect(settings) as store:
            yield DeadLetters(store, ttl_s=settings.dead_letter_ttl_s)
    except errors.BrokerUnavailableError as error:
        raise command_line.unreachable(settings, error) from error


def choose(letters: DeadLetters, ids: tuple[str, ...], wanted: Filter, everything: bool) -> list[DeadLetter]:
    """Find the letters that a command acts on; raise UsageError if it selects none."""
    if ids:
        return [one(letters, letter_id) for letter_id in ids]
    if wanted == Filter() and not everything:
        msg = "select some: ids, --reason, --batch, --older-than, --newer-than, or --all"
        raise click.UsageError(msg)
    return list(letters.find(wanted))


def one(letters: DeadLetters, letter_id: str) -> DeadLetter:
    """Find a letter by its id."""
    letter = letters.get(letter_id)
    if letter is None:
        msg = f"there is no dead letter {letter_id}: it was replayed or purged, or has expired"
        raise errors.InvalidMessageError(msg)
    return letter


def is_replayable(letter: DeadLetter) -> bool:
    """Tell whether a letter can be sent again."""
    return letter.reason != dead_letters.MALFORMED


def shown(letter: DeadLetter) -> dict[str, Any]:
    """Return the facts of a letter without its payload."""
    return letter.model_dump(exclude={"payload", "counted"})


def row(letter: DeadLetter) -> dict[str, Any]:
    """Return the facts of a letter for a table."""
    died = time.strftime("%m-%d %H:%M:%S", time.localtime(letter.died_at))
    return {**shown(letter), "died": died, "texts": letter.texts or "", "attempts": letter.attempts or ""}


def report(what: str, done: list[DeadLetter], *, dry_run: bool, as_json: bool) -> None:
    """Report what was done."""
    if as_json:
        command_line.emit({"done" if not dry_run else "would": what, "ids": [letter.id for letter in done]})
        return
    command_line.say(f"{'would be ' if dry_run else ''}{what}: {len(done)}")
    for letter in done:
        command_line.out.print(escape(letter.id))
