"""`pointsman data`: convert a team's own data for Pointsman."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click
from rich.markup import escape

from pointsman_producer.commands import command_line, screen
from pointsman_producer.files import writers
from pointsman_shared import errors
from pointsman_shared.data_files import utterances

SHOWN_FINDINGS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition:
    """The lines of the same text, and its intents there."""

    lines: list[int]
    intents: list[str]

    @property
    def is_contradiction(self) -> bool:
        """Whether the lines disagree."""
        return len(self.intents) > 1


def repetitions(read: Sequence[utterances.Utterance]) -> Iterator[Repetition]:
    """Find duplicate texts; case and spacing do not matter."""
    by_text: dict[str, list[utterances.Utterance]] = {}
    for utterance in read:
        by_text.setdefault(" ".join(utterance.text.casefold().split()), []).append(utterance)
    for same in by_text.values():
        if len(same) > 1:
            yield Repetition(
                lines=[utterance.line for utterance in same],
                intents=list(dict.fromkeys(utterance.intent for utterance in same)),
            )


@click.group()
def data() -> None:
    """Convert training data."""


@data.command(
    "import",
    epilog="""\b
Examples:
  pointsman data import classification_data.json -o data/utterances/mine.jsonl
  pointsman data import nlu.yml
""",
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file of the utterances. [default: FILE with the ending .jsonl]",
)
@click.option("--force", is_flag=True, help="Replace an existing OUT.")
@command_line.json_option
def import_file(*, file: Path, out: Path | None, force: bool, as_json: bool) -> None:
    """Convert labelled utterances to JSON lines of {"text", "intent"}, and perhaps conversation_id.

    FILE is a JSON list, JSON lines, CSV (text,intent) or Rasa NLU YAML. Duplicate texts stay, and are listed with
    their lines, as are duplicates with contradictory intents.
    """
    out = out or file.with_suffix(".jsonl")
    _check(file, out, force=force)
    read = utterances.read(file)
    _write(read, out)
    found = list(repetitions(read))
    screen.give(_facts(out, read, found), lambda _: _show(out, read, found), as_json=as_json)


def _check(file: Path, out: Path, *, force: bool) -> None:
    if out.exists() and file.exists() and out.samefile(file):
        msg = f"{out} would be overwritten: name another file with -o"
        raise errors.InvalidDataError(msg)
    writers.require_free(out, force=force)


def _write(read: Sequence[utterances.Utterance], out: Path) -> None:
    with writers.whole(out) as new, closing(writers.JsonLinesTable(new)) as table:
        for utterance in read:
            said_in = {"conversation_id": utterance.conversation} if utterance.conversation else {}
            table.write({"text": utterance.text, "intent": utterance.intent, **said_in})


def _facts(out: Path, read: Sequence[utterances.Utterance], found: Sequence[Repetition]) -> dict[str, object]:
    return {
        "out": str(out),
        "utterances": len(read),
        "intents": dict(Counter(utterance.intent for utterance in read).most_common()),
        "duplicates": [
            {"lines": same.lines, "intent": same.intents[0]} for same in found if not same.is_contradiction
        ],
        "contradictions": [
            {"lines": same.lines, "intents": same.intents} for same in found if same.is_contradiction
        ],
    }


def _show(out: Path, read: Sequence[utterances.Utterance], found: Sequence[Repetition]) -> None:
    intents = len({utterance.intent for utterance in read})
    command_line.out.print(f"{len(read)} utterances of {intents} intents are in {escape(str(out))}")
    contradictions = [same for same in found if same.is_contradiction]
    duplicates = [same for same in found if not same.is_contradiction]
    _list("contradictory", contradictions, "the same text is")
    _list("duplicate", duplicates, "the same text is always")


def _list(kind: str, found: Sequence[Repetition], what: str) -> None:
    for same in found[:SHOWN_FINDINGS]:
        lines, intents = ", ".join(map(str, same.lines)), " and ".join(same.intents)
        command_line.say(f"[yellow]{kind}[/] lines {lines}: {what} {escape(intents)}")
    if len(found) > SHOWN_FINDINGS:
        command_line.say(f"[yellow]{kind}[/] and {len(found) - SHOWN_FINDINGS} more; --json lists all")
