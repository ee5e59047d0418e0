"""The `pointsman` command: which commands there are. Each one is imported when it is used."""

import importlib
from importlib import metadata
from typing import NamedTuple

import click

from pointsman_producer.commands import command_line


class Entry(NamedTuple):
    """Where a command is, and its line in the help."""

    place: str
    summary: str


COMMANDS = {
    "demo": Entry("demo:demo", "Take a guided tour: real workers, real queues, about two minutes."),
    "up": Entry("up:up", "Run everything on this machine: Redis, workers, trainer, schedule, Flower."),
    "classify": Entry("classify:classify", "Classify one text and say why it went to its tier."),
    "batch": Entry("batch:batch", "Classify a file of transcripts."),
    "train": Entry("train:train", "Train a tier and wait for the result."),
    "health": Entry("health:health", "Say whether one worker serves its queues."),
    "cancel": Entry("cancel:cancel", "Call off messages, or what is not begun of a batch."),
    "dead": Entry("dead:dead", "Look at dead letters, send them again, forget them."),
    "models": Entry("models:models", "See what is in the model registry; promote, roll back, verify."),
    "shadow": Entry("shadow:shadow", "Compare the model that did not serve with the one that did."),
    "label": Entry("label:label", "Say what the right answer to a job was; draw what to label."),
    "data": Entry("data:data", "Look at training data and transcripts."),
    "chat": Entry("chat:chat", "Type texts and see what becomes of them."),
    "doctor": Entry("doctor:doctor", "Check the deployment and say what to do."),
}

EPILOG = """\b
Data goes to stdout, chatter to stderr; --json prints data for programs.

\b
Exit codes:
  0    done
  1    unexpected: a bug (POINTSMAN_DEBUG=1 shows where)
  2    the command line is wrong
  3    bad input: the same again will fail again
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
        """Give the commands in the order in which a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].place.partition(":")
        command: click.Command = getattr(
            importlib.import_module(f"pointsman_producer.commands.{module}"), name
        )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  click's signature
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(metadata.version("pointsman"), message="%(prog)s %(version)s")
def pointsman() -> None:
    """Classify texts through a queue; a feature flag chooses the model tier when a worker takes the job."""


def run() -> int:
    """Run the command line and give the exit code."""
    return command_line.run(pointsman)
