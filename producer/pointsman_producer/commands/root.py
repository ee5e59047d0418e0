"""The `pointsman` command and the list of its commands, each of which is imported when it is used."""

import difflib
import importlib
from importlib import metadata

import click

from pointsman_producer.commands import command_line

# Each command is in the module of its name; this is its line in the help.
COMMANDS = {
    "demo": "Take a guided tour: real workers, real queues, about two minutes.",
    "up": "Run everything on this machine: Redis, workers, trainer, schedule, Flower.",
    "classify": "Classify one text, and explain its tier.",
    "batch": "Classify a file of transcripts.",
    "train": "Train a tier and wait for the result.",
    "health": "Check that one worker serves its queues.",
    "cancel": "Cancel messages, or the part of a batch that has not started.",
    "dead": "Look at dead letters, send them again, delete them.",
    "models": "See the model registry; promote, roll back, verify.",
    "shadow": "Compare the version that did not serve with the one that did.",
    "label": "Give the right answer to a job; draw texts to label.",
    "data": "Convert training data.",
    "chat": "Type texts and see their outcomes.",
    "doctor": "Check the deployment and say what to do.",
}

EPILOG = """\b
Results go to stdout, messages to stderr; --json prints results for programs.

\b
Exit codes:
  0    done
  1    unexpected: a bug (POINTSMAN_DEBUG=1 shows where)
  2    the command line is wrong
  3    bad input: the same command would fail again
  4    unavailable or timed out: try again later
  130  interrupted

\b
Examples:
  pointsman demo
  pointsman up --workers 2
  pointsman classify "Can I pay you with my Google Pay wallet?" --attr plan=pro
"""


class LazyGroup(click.Group):
    """A group that imports a command when it is used, so that `--help` and usage errors are quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """List the commands in the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"pointsman_producer.commands.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; the error for one that does not exist names the closest."""
        close = difflib.get_close_matches(args[0], COMMANDS, n=1) if args[0] not in COMMANDS else []
        if close:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {close[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  click's signature
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(metadata.version("pointsman"), message="%(prog)s %(version)s")
def pointsman() -> None:
    """Classify texts through a queue; a feature flag chooses the model tier when a worker takes the job."""


def run() -> int:
    """Run the command line and return the exit code."""
    return command_line.run(pointsman)
