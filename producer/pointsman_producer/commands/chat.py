"""`pointsman chat`: type texts and see what becomes of them; train from the same menu."""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import click
from rich.markup import escape

from pointsman_producer.client.client import Client
from pointsman_producer.commands import classify as classifying
from pointsman_producer.commands import command_line
from pointsman_producer.commands import train as training
from pointsman_shared import errors, names
from pointsman_shared.wire import jobs

with contextlib.suppress(ImportError):
    import readline  # noqa: F401  gives input() line editing and a history

MENU = "1 - Interact | 2 - Train | 3 - Exit"
HELP = "/plan NAME, /user ID, /back to the menu; anything else is classified"
TIERS = (names.BASE_TIER, names.PRO_TIER)
_NUMBERS = {str(number) for number in range(1, len(TIERS) + 1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What one chat holds on to.

    Attributes:
        client: The way to the workers.
        user: Who speaks.
        as_json: Whether outcomes are printed as JSON.
    """

    client: Client
    user: jobs.User
    as_json: bool


@click.command(
    epilog="""\b
In Interact: /plan NAME and /user ID change who speaks, /back returns to the menu. Ctrl-D leaves.

\b
Examples:
  pointsman chat
  printf '1\\nwhat time do you open?\\n' | pointsman chat --json
"""
)
@click.option("--user", "user_id", metavar="ID", default="chat", show_default=True, help="Who speaks.")
@click.option("--plan", metavar="NAME", help="The user's plan, as free or pro.")
@command_line.json_option
def chat(*, user_id: str, plan: str | None, as_json: bool) -> None:
    """Type texts and see intent, confidence, tier and why."""
    user = jobs.User.parse({"id": user_id, "custom": {"plan": plan} if plan else {}})
    with command_line.connected() as client:
        try:
            menu(Session(client=client, user=user, as_json=as_json))
        except EOFError:
            command_line.say()


def menu(session: Session) -> None:
    """Ask what to do until the person leaves.

    Raises:
        EOFError: The input ended.
    """
    while True:
        command_line.say(f"[bold]{MENU}[/]")
        choice = ask("> ")
        if choice == "1":
            session = interact(session)
        elif choice == "2":
            train(session)
        elif choice == "3":
            return
        elif choice:
            command_line.say("type 1, 2 or 3")


def interact(session: Session) -> Session:
    """Classify what is typed until `/back`; gives the session with who spoke last."""
    command_line.say(f"[dim]{HELP}[/]")
    while True:
        typed = ask(f"{_who(session.user)}> ")
        if typed == "/back":
            return session
        if typed.startswith("/"):
            session = command(session, typed)
        elif typed:
            answer(session, typed)


def command(session: Session, typed: str) -> Session:
    """Follow a line that begins with a slash."""
    name, _, value = typed.partition(" ")
    value = value.strip()
    if name == "/plan" and value:
        return replace(session, user=session.user.model_copy(update={"custom": {"plan": value}}))
    if name == "/user" and value:
        return replace(session, user=session.user.model_copy(update={"id": value}))
    command_line.say(HELP)
    return session


def answer(session: Session, text: str) -> None:
    """Classify one text and print what came of it."""
    with _errors_said():
        outcome = session.client.classify(text, user=session.user)
        if session.as_json:
            command_line.emit(outcome)
        else:
            classifying.show(outcome)


def train(session: Session) -> None:
    """Ask for a tier and train it."""
    menu = " | ".join(f"{number} - {tier}" for number, tier in enumerate(TIERS, start=1))
    wanted = ask(f"which tier: {menu}: ")
    if not wanted:
        return
    tier = TIERS[int(wanted) - 1] if wanted in _NUMBERS else wanted
    with _errors_said():
        reply = training.train_and_wait(session.client, tier)
        if session.as_json:
            command_line.emit(reply)
        else:
            training.show(reply)


@contextlib.contextmanager
def _errors_said() -> Iterator[None]:
    # A chat goes on after a text that did not work out.
    try:
        yield
    except errors.PointsmanError as error:
        command_line.say(f"[red]error[/] {escape(str(error))}")


def ask(prompt: str) -> str:
    """Read a line; the prompt stays out of stdout when that is not a terminal.

    Raises:
        EOFError: The input ended.
    """
    if sys.stdout.isatty():
        return input(prompt).strip()
    command_line.err.print(prompt, end="", markup=False)
    return input().strip()


def _who(user: jobs.User) -> str:
    plan = user.custom.get("plan")
    return f"{user.id} ({plan})" if plan else user.id
