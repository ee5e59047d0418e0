"""`pointsman data`: convert a team's own data for Pointsman."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from pointsman_producer.commands import command_line, screen
from pointsman_producer.files import writers
from pointsman_shared import errors
from pointsman_shared.data_files import utterances
from pointsman_shared.data_files.utterances import Utterance

SHOWN_FINDINGS = 20


@click.group()
def data() -> None:
    """Convert training data."""


@data.command(
    "import",
    epilog=command_line.examples(
        "pointsman data import classification_data.json -o data/utterances/mine.jsonl",
        "pointsman data import nlu.yml",
    ),
)
@click.argument("file", type=command_line.FILE)
@command_line.out_option("The file of the utterances. [default: FILE with the ending .jsonl]")
@click.option("--force", is_flag=True, help="Replace an existing OUT.")
@command_line.json_option
def import_file(*, file: Path, out: Path | None, force: bool, as_json: bool) -> None:
    """Convert labelled utterances to JSON lines of {"text", "intent"}, and perhaps conversation_id.

    FILE is a JSON list, JSON lines, CSV (text,intent) or Rasa NLU YAML. Duplicate texts stay, and are listed with
    their lines, as are duplicates with contradictory intents.
    """
    out = out or file.with_suffix(".jsonl")
    if out.exists() and file.exists() and out.samefile(file):
        msg = f"{out} would be overwritten: name another file with -o"
        raise errors.InvalidDataError(msg)
    writers.require_free(out, force=force)
    read = utterances.read(file)
    with writers.whole(out) as new, writers.json_lines(new) as write:
        for utterance in read:
            said_in = {"conversation_id": utterance.conversation} if utterance.conversation else {}
            write({"text": utterance.text, "intent": utterance.intent, **said_in})
    repeated = list(repetitions(read))
    facts = {
        "out": str(out),
        "utterances": len(read),
        "intents": dict(Counter(utterance.intent for utterance in read).most_common()),
        "duplicates": [
            {"lines": lines, "intent": intents[0]} for lines, intents in repeated if len(intents) == 1
        ],
        "contradictions": [
            {"lines": lines, "intents": intents} for lines, intents in repeated if len(intents) > 1
        ],
    }
    screen.give(facts, _show, as_json=as_json)


def repetitions(read: Sequence[Utterance]) -> Iterator[tuple[list[int], list[str]]]:
    """Find duplicate texts, with their lines and their intents; case and spacing do not matter."""
    by_text: dict[str, list[Utterance]] = {}
    for utterance in read:
        by_text.setdefault(" ".join(utterance.text.casefold().split()), []).append(utterance)
    for same in by_text.values():
        if len(same) > 1:
            intents = dict.fromkeys(utterance.intent for utterance in same)
            yield [utterance.line for utterance in same], list(intents)


def _show(facts: dict[str, Any]) -> None:
    counts = f"{facts['utterances']} utterances of {len(facts['intents'])} intents"
    command_line.out.print(f"{counts} are in {escape(facts['out'])}")
    _list("contradictory", facts["contradictions"], lambda same: " and ".join(same["intents"]))
    _list("duplicate", facts["duplicates"], lambda same: f"always {same['intent']}")


def _list(kind: str, found: Sequence[dict[str, Any]], what: Callable[[dict[str, Any]], str]) -> None:
    for same in found[:SHOWN_FINDINGS]:
        command_line.note(kind, f"lines {', '.join(map(str, same['lines']))}: the same text is {what(same)}")
    if len(found) > SHOWN_FINDINGS:
        command_line.note(kind, f"and {len(found) - SHOWN_FINDINGS} more; --json lists all")
