"""The command line of all commands: an error is one line and an exit code; results go to stdout, messages to stderr."""

import contextlib
import io
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import orjson
from pydantic import BaseModel
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from rich.markup import escape

from pointsman_producer.client import single_try
from pointsman_producer.client.client import Client
from pointsman_producer.commands.terminal import Terminal
from pointsman_producer.deployment import state as local_state
from pointsman_producer.files import writers
from pointsman_shared import errors
from pointsman_shared.settings import Settings

OK: Final = 0
UNEXPECTED: Final = 1
USAGE: Final = 2
BAD_INPUT: Final = 3
TRY_LATER: Final = 4
INTERRUPTED: Final = 130

DEBUG_VARIABLE: Final = "POINTSMAN_DEBUG"
REMEDIES: Final = {
    errors.Remedy.OVERWRITE: "--force replaces it.",
    errors.Remedy.START_OVER: "--force starts over.",
    errors.Remedy.RESUME_OR_START_OVER: "--resume completes that batch, --force starts over.",
    errors.Remedy.OTHER_SPEAKER: "--speaker chooses whose turns are classified.",
    errors.Remedy.OTHER_REDIS_PORT: "--redis-port PORT chooses another.",
    errors.Remedy.OTHER_FLOWER_PORT: "--flower-port PORT chooses another.",
    errors.Remedy.INSIST: "If you know better: --force --why '...'",
    errors.Remedy.JOIN: "--join waits for that run.",
}
NO_REDIS_ADVICE: Final = "start one with `pointsman up` or set POINTSMAN_REDIS_URL"

# Both look up sys.stdout and sys.stderr at each use, so that tests and redirections work.
out, err = Terminal(), Terminal(stderr=True)

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_Function = TypeVar("_Function", bound=Callable[..., Any])


def options(*decorators: Callable[[Any], Any]) -> Callable[[_Function], _Function]:
    """Make one decorator of several options, which appear in this order."""

    def add(function: _Function) -> _Function:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return add


FILE: Final[click.Path] = click.Path(path_type=Path, dir_okay=False)
# Adds `--json`; the command gets it as `as_json`.
json_option = options(
    click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout, for programs.")
)

# Adds `--raw` to a command that writes tables.
raw_option = click.option(
    "--raw",
    is_flag=True,
    help="In CSV, leave texts as they are, even those that a spreadsheet takes for formulas.",
)

# Adds `--attr`; the command gets pairs as `attributes`, for `attributes_of`.
attributes_option = click.option(
    "--attr", "attributes", metavar="NAME=VALUE", multiple=True, help="A further attribute, as plan=pro."
)


def attributes_of(pairs: Sequence[str]) -> dict[str, str]:
    """Read the attributes of a user."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            msg = f"--attr {pair}: expected NAME=VALUE, as plan=pro"
            raise click.UsageError(msg)
        if name in found:
            msg = f"--attr {name} is given twice: give it one value"
            raise click.UsageError(msg)
        found[name] = value
    return found


def out_option(text: str, *, required: bool = False) -> Callable[[_Function], _Function]:
    """Add `-o` for the file to write; the command gets it as `out`."""
    return click.option("-o", "--out", type=FILE, required=required, help=text)


def timeout_option(
    default: float, *, least: float = 1, text: str = "Seconds to wait."
) -> Callable[[_Function], _Function]:
    """Add `--timeout`; the command gets it as `timeout_s`."""
    kind = click.FloatRange(min=least)
    return click.option("--timeout", "timeout_s", type=kind, default=default, help=text)


def examples(*lines: str, note: str = "") -> str:
    """Write the end of a command's help."""
    shown = "\b\nExamples:\n" + "".join(f"  {line}\n" for line in lines)
    return f"\b\n{note}\n\n{shown}" if note else shown


def emit(value: object) -> None:
    """Print one JSON document on one line of stdout."""
    text = orjson.dumps(value, default=_plain).decode()
    # Some people read it, too; in JSON, an escape is the same text.
    sys.stdout.write((text if text.isprintable() else _UNPRINTABLE.sub(_escaped, text)) + "\n")
    sys.stdout.flush()


def _escaped(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return str(value)


def say(message: str = "") -> None:
    """Print a message for a person on stderr; it may use rich's markup."""
    err.print(message)


def note(kind: str, text: str) -> None:
    """Print a warning, or a remark, for a person on stderr."""
    say(f"[yellow]{kind}[/] {escape(text)}")


@contextlib.contextmanager
def connected(settings: Settings | None = None) -> Iterator[Client]:
    """Open a client of the running deployment; if no Redis answers, the error says how to get one."""
    settings = settings or local_state.settings()
    require_redis(settings)
    with reaching(settings), Client(settings=settings) as client:
        yield client


def require_redis(settings: Settings, advice: str = NO_REDIS_ADVICE) -> None:
    """Check that Redis answers, so that a missing deployment is reported at once, with advice."""
    with reaching(settings, advice), single_try.connect(settings) as store:
        store.ping()
        store.require_one_server()


@contextlib.contextmanager
def reaching(settings: Settings, advice: str = NO_REDIS_ADVICE) -> Iterator[None]:
    """Describe why Redis does not answer, or refuses us, with the remedy; keep an error that has another cause."""
    try:
        yield
    except errors.BrokerUnavailableError as error:
        cause = error.__cause__
        if not isinstance(cause, RedisError):
            raise
        url, why = local_state.shown_url(settings), str(cause).rstrip(".")
        msg = f"no Redis answers at {url} ({why}): {advice}"
        if isinstance(cause, AuthenticationError | ResponseError):
            msg = f"Redis at {url} refuses us ({why}): check POINTSMAN_REDIS_URL"
        raise errors.BrokerUnavailableError(msg) from error


def run(command: click.Command, arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code; an error is one line on stderr."""
    if sys.stdout is None:
        # The caller closed stdout: what a command prints there is thrown away.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  until the process ends
    try:
        with writers.explained():
            result = command.main(args=arguments, prog_name="pointsman", standalone_mode=False)
            sys.stdout.flush()
    except BrokenPipeError:
        return _stop_writing()
    except Exception as error:  # the last place that can turn an error into a message
        return _fail(error)
    except KeyboardInterrupt:
        return _fail(click.Abort())
    except SystemExit as end:
        # click and rich end so when the reader of our stdout has gone (`| head`), which is no error.
        return _stop_writing() if end.code == 1 else OK
    return result if isinstance(result, int) else OK


def _fail(error: Exception) -> int:
    if isinstance(error, click.Abort):
        say("interrupted")
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        said = io.StringIO()
        error.show(said)
        err.print(said.getvalue(), markup=False, end="")
        return error.exit_code
    # Nothing can be said where stderr has no room.
    with contextlib.suppress(OSError):
        _report(error)
    if isinstance(error, errors.RetryableError):
        return TRY_LATER
    if isinstance(error, errors.PermanentError):
        return BAD_INPUT
    return UNEXPECTED


def _report(error: Exception) -> None:
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
    expected = isinstance(error, errors.PointsmanError)
    kind = "error" if expected else f"unexpected {type(error).__name__}"
    err.print(f"{kind}: {error}", markup=False, style="red")
    if isinstance(error, errors.PointsmanError) and error.remedy is not None:
        say(escape(REMEDIES[error.remedy]))
    if isinstance(error, errors.ResultTimeoutError):
        say("`pointsman doctor` checks the workers.")
    if isinstance(error, errors.TierUnavailableError):
        say("`pointsman train TIER` trains a tier that has no version yet.")
    if isinstance(error, errors.PointsmanError) and error.dead_letter:
        again = "; trying again can help" if error.is_retryable else ""
        say(f"Its message is a dead letter{again}: pointsman dead show {escape(error.dead_letter)}")
    if not expected and not os.environ.get(DEBUG_VARIABLE):
        say(f"This is a bug in Pointsman. Set {DEBUG_VARIABLE}=1 to see where it happened.")


def _stop_writing() -> int:
    # The flush of the interpreter at exit would fail; now it writes to nowhere.
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.__stdout__.fileno() if sys.__stdout__ else 1)
    return OK
