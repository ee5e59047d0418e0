"""`pointsman chat`: type texts and see their outcomes; train from the same menu."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click
from rich.markup import escape

from pointsman_producer.client import registry
from pointsman_producer.client.client import Client
from pointsman_producer.commands import command_line, screen
from pointsman_producer.files import tables
from pointsman_shared import errors
from pointsman_shared.wire import jobs

with contextlib.suppress(ImportError):
    import readline  # noqa: F401  adds line editing and a history to input()

MENU = "1 - Interact | 2 - Train | 3 - Exit"
HELP = "/plan NAME, /user ID, /back to the menu; anything else is classified"


@dataclass(slots=True, kw_only=True)
class Session:
    """The state of one chat: the user who speaks, and whether outcomes are printed as JSON."""

    client: Client
    user: jobs.User
    as_json: bool


@click.command(
    epilog=command_line.examples(
        "pointsman chat",
        "printf '1\\nwhat time do you open?\\n' | pointsman chat --json",
        note="In Interact: /plan NAME and /user ID change the user, /back returns to the menu. Ctrl-D leaves.",
    )
)
@click.option("--user", "user_id", metavar="ID", default="chat", help="The user.")
@click.option("--plan", metavar="NAME", help="The user's plan, as free or pro.")
@command_line.attributes_option
@command_line.json_option
def chat(*, user_id: str, plan: str | None, attributes: Sequence[str], as_json: bool) -> None:
    """Type texts and see intent, confidence, tier and why."""
    custom = command_line.attributes_of(attributes) | ({"plan": plan} if plan else {})
    user = jobs.User.parse({"id": user_id, "custom": custom})
    with command_line.connected() as client:
        try:
            menu(Session(client=client, user=user, as_json=as_json))
        except EOFError:
            command_line.say()


def menu(session: Session) -> None:
    """Show the menu until the person leaves, or the input ends with EOFError."""
    while True:
        command_line.say(f"[bold]{MENU}[/]")
        choice = ask("> ")
        if choice == "1":
            interact(session)
        elif choice == "2":
            train(session)
        elif choice == "3":
            return
        elif choice:
            command_line.say("type 1, 2 or 3")


def interact(session: Session) -> None:
    """Classify typed texts until `/back`."""
    command_line.say(f"[dim]{HELP}[/]")
    while True:
        plan = session.user.custom.get("plan")
        typed = ask(f"{session.user.id} ({plan})> " if plan else f"{session.user.id}> ")
        name, _, value = typed.partition(" ")
        if name == "/back":
            return
        if name == "/plan" and value:
            session.user = session.user.model_copy(
                update={"custom": {**session.user.custom, "plan": value.strip()}}
            )
        elif name == "/user" and value:
            session.user = session.user.model_copy(update={"id": value.strip()})
        elif name.startswith("/"):
            command_line.say(HELP)
        elif typed:
            with _errors_said():
                outcome = session.client.classify(typed, user=session.user, ranking=screen.RANKING)
                screen.give(outcome, screen.show_outcome, as_json=session.as_json)


def train(session: Session) -> None:
    """Ask for a tier and train it."""
    with _errors_said():
        tiers = {str(number): tier for number, tier in enumerate(registry.tiers(session.client), start=1)}
        wanted = ask(f"which tier: {' | '.join(f'{number} - {tier}' for number, tier in tiers.items())}: ")
        if not wanted:
            return
        tier = tiers.get(wanted, wanted)
        reply = screen.train_and_wait(session.client, tier)
        screen.give(reply, screen.show_training, as_json=session.as_json)


@contextlib.contextmanager
def _errors_said() -> Iterator[None]:
    # A chat continues after an error.
    try:
        yield
    except errors.PointsmanError as error:
        command_line.say(f"[red]error[/] {escape(str(error))}")


def ask(prompt: str) -> str:
    """Read a line, or raise EOFError; the prompt goes to stdout only if that is a terminal."""
    if sys.stdout.isatty():
        return input(tables.printable(prompt)).strip()
    command_line.err.print(prompt, end="", markup=False)
    return input().strip()
