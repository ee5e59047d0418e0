"""`pointsman dead`: messages that are not tried again: look at them, send them again, delete them."""

import contextlib
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import click
from rich.markup import escape

from pointsman_producer.commands import command_line, screen
from pointsman_producer.commands.command_line import examples
from pointsman_producer.deployment import state as local_state
from pointsman_shared import errors
from pointsman_shared.store import dead_letters
from pointsman_shared.store.connection import Store
from pointsman_shared.store.dead_letters import DeadLetter, DeadLetters, Filter

COLUMNS = {name: name for name in ("id", "reason", "died", "queue", "texts", "attempts")} | {"detail": "what"}
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def age(text: str) -> float:
    """Read a duration, as 90s, 15m, 6h or 2d, in seconds."""
    try:
        return float(text[:-1]) * UNITS[text[-1:]]
    except (ValueError, KeyError):
        msg = f"{text!r} is not an age: expected a number and s, m, h or d, as 6h"
        raise click.BadParameter(msg) from None


def age_option(name: str, text: str) -> Callable[[Any], Any]:
    """Make an option that takes an age."""
    return click.option(f"--{name}", f"{name.replace('-', '_')}_s", metavar="AGE", type=age, help=text)


filters = command_line.options(
    click.option("--reason", type=click.Choice(dead_letters.REASONS), help="Only letters of one kind."),
    click.option("--batch", help="Only letters of a batch."),
    age_option("older-than", "Only letters older than this, as 2d."),
    age_option("newer-than", "Only letters younger than this, as 6h."),
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
    epilog=examples(
        "pointsman dead list",
        "pointsman dead list --reason poison --newer-than 6h",
        "pointsman dead list --batch 5c1f… --json | jq -r '.[].id'",
    ),
)
@filters
@click.option("--limit", type=click.IntRange(min=1), default=100, help="The most letters.")
@command_line.json_option
def list_letters(*, limit: int, as_json: bool, **wanted: Any) -> None:  # noqa: ANN401  the filters
    """List dead letters, the latest first, without their messages."""
    with connected() as letters:
        found = list(islice(letters.find(Filter(**wanted)), limit))
        count = letters.count()
    rows = [facts(letter) if as_json else row(letter) for letter in found]
    screen.give_table(rows, COLUMNS, "There is no such dead letter.", as_json=as_json)
    if found and len(found) < count and not as_json:
        command_line.say(f"{len(found)} of {count} dead letters.")


@dead.command(epilog=examples("pointsman dead show 0b6e…", "pointsman dead show 0b6e… --payload --json"))
@click.argument("letter_id", metavar="ID")
@click.option("--payload", is_flag=True, help="Also show the message, which may be private.")
@command_line.json_option
def show(*, letter_id: str, payload: bool, as_json: bool) -> None:
    """Show the dead letter ID."""
    with connected() as letters:
        letter = one(letters, letter_id)
    shown = facts(letter) | ({"payload": letter.arguments()} if payload else {})
    lines = {name: str(value) for name, value in shown.items()} | {"died_at": moment(letter)}
    screen.give(shown, lambda _: screen.show_facts(lines), as_json=as_json)


@dead.command(
    epilog=examples(
        "pointsman dead replay 0b6e…",
        "pointsman dead replay --reason failed --older-than 1h --dry-run",
        "pointsman dead replay --batch 5c1f…",
        note="""\
Each message returns to its queue under its own id, and still gets exactly one outcome. The beginning of an id is enough
where no other id begins so.""",
    )
)
@selection
def replay(*, ids: tuple[str, ...], **options: Any) -> None:  # noqa: ANN401  the selection
    """Send dead letters again: the named ones, or those that the options select."""
    # A malformed letter cannot be sent again; for one that is named, an error says so.
    if not ids and options["reason"] == dead_letters.MALFORMED:
        msg = "malformed letters cannot be sent again: no worker could read them; `dead show` and `dead purge` take them"
        raise click.UsageError(msg)
    act("replayed", DeadLetters.replay, ids, skipped=None if ids else dead_letters.MALFORMED, **options)


@dead.command(
    epilog=examples(
        "pointsman dead purge 0b6e…",
        "pointsman dead purge --reason malformed --older-than 2d",
        "pointsman dead purge --all --dry-run",
    )
)
@selection
def purge(*, ids: tuple[str, ...], **options: Any) -> None:  # noqa: ANN401  the selection
    """Delete dead letters: the named ones, or those that the options select."""
    act("purged", DeadLetters.purge, ids, **options)


@contextlib.contextmanager
def connected() -> Iterator[DeadLetters]:
    """Open the dead letters of the running deployment."""
    settings = local_state.settings()
    command_line.require_redis(settings)
    with command_line.reaching(settings), Store.connect(settings) as store:
        yield DeadLetters(store, ttl_s=settings.dead_letter_ttl_s)


def act(
    what: str,
    do: Callable[[DeadLetters, DeadLetter], bool],
    ids: tuple[str, ...],
    *,
    skipped: str | None = None,
    everything: bool,
    dry_run: bool,
    as_json: bool,
    **wanted: Any,  # noqa: ANN401  the filters
) -> None:
    """Do something with the letters that a command selects, but for those of a reason, and report it."""
    if not ids and Filter(**wanted) == Filter() and not everything:
        msg = "select some: ids, --reason, --batch, --older-than, --newer-than, or --all"
        raise click.UsageError(msg)
    with connected() as letters:
        chosen = [one(letters, letter_id) for letter_id in ids] if ids else letters.find(Filter(**wanted))
        meant = (letter for letter in chosen if letter.reason != skipped)
        done = [letter.id for letter in meant if dry_run or _done(letters, letter, do, is_named=bool(ids))]
    if as_json:
        command_line.emit({"would" if dry_run else "done": what, "ids": done})
        return
    command_line.say(f"{'would be ' if dry_run else ''}{what}: {len(done)}")
    for letter_id in done:
        command_line.out.print(letter_id, markup=False)


def _done(
    letters: DeadLetters, letter: DeadLetter, do: Callable[[DeadLetters, DeadLetter], bool], *, is_named: bool
) -> bool:
    """Do it with a letter; one that was not named and for which it cannot be done does not stop the others."""
    try:
        return do(letters, letter)
    except errors.InvalidMessageError as error:
        if is_named:
            raise
        command_line.say(f"[yellow]warning[/] {escape(str(error))}")
        return False


def one(letters: DeadLetters, letter_id: str) -> DeadLetter:
    """Find a letter by its id, or by the beginning of its id, if no other begins so."""
    letter = letters.get(letter_id)
    if letter is None and letter_id and (ids := letters.ids(letter_id)):
        if len(ids) > 1:
            msg = f"{len(ids)} dead letters have ids that begin with {letter_id}: give more of the id"
            raise errors.InvalidMessageError(msg)
        letter = letters.get(ids[0])
    if letter is None:
        msg = (
            f"there is no dead letter {letter_id}: the id is wrong, or it was replayed or purged, or has expired; "
            "`pointsman dead list` names those that there are"
        )
        raise errors.InvalidMessageError(msg)
    return letter


def facts(letter: DeadLetter) -> dict[str, Any]:
    """Return the facts of a letter without its payload."""
    return letter.model_dump(exclude={"payload", "counted"})


def moment(letter: DeadLetter) -> str:
    """Return when a letter was given up, in the time of this machine."""
    return time.strftime("%m-%d %H:%M:%S", time.localtime(letter.died_at))


def row(letter: DeadLetter) -> dict[str, Any]:
    """Return the facts of a letter for a table."""
    return {
        **facts(letter),
        "died": moment(letter),
        "texts": letter.texts or "",
        "attempts": letter.attempts or "",
    }
