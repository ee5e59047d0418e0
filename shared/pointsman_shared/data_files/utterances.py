"""Labelled utterances: read from a file and checked.

They need no scikit-learn, so that a command can check a file before anybody trains on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pointsman_shared import errors
from pointsman_shared.data_files import rows
from pointsman_shared.wire import jobs

MAX_INTENT_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One labelled text and where it stands."""

    text: str
    intent: str
    source: str
    line: int
    conversation: str | None = None
    """The conversation it was said in, where the file names one as `conversation_id`."""

    @property
    def place(self) -> str:
        """Say where it stands, as `file:line`."""
        return f"{self.source}:{self.line}"


def read(path: Path, *, shown_as: str | None = None) -> list[Utterance]:
    """Read labelled utterances.

    By the file's ending: `.jsonl` (one `{"text", "intent"}` a line), `.json` (one list of them, or Rasa NLU JSON),
    `.csv` (header `text,intent`), `.yml` / `.yaml` (Rasa NLU). Further fields are ignored.

    Args:
        path: The file.
        shown_as: How messages and `Utterance.source` name it, if not by its path.

    Raises:
        InvalidDataError: The file cannot be read, or has bad rows; all of them are named, up to 20.
    """
    name = shown_as or str(path)
    problems = rows.Problems()
    records = rows.read(path, problems, shown_as=name)
    utterances = [found for record in records if (found := check(record, name, problems)) is not None]
    problems.raise_if_any()
    if not utterances:
        msg = f"{name}: holds no utterances"
        raise errors.InvalidDataError(msg)
    return utterances


def check(record: rows.Record, name: str, problems: rows.Problems) -> Utterance | None:
    """Make an utterance of a record, or note what is wrong with it."""
    place = f"{name}:{record.line}"
    text = _checked(record.fields, "text", jobs.MAX_TEXT_CHARS, place, problems)
    intent = _checked(record.fields, "intent", MAX_INTENT_CHARS, place, problems)
    if text is None or intent is None:
        return None
    conversation = record.fields.get("conversation_id")
    return Utterance(
        text=text,
        intent=intent,
        source=name,
        line=record.line,
        # Ids are often numbers.
        conversation=(str(conversation).strip() or None) if isinstance(conversation, str | int) else None,
    )


def _checked(
    fields: Mapping[str, object], name: str, longest: int, place: str, problems: rows.Problems
) -> str | None:
    value = fields.get(name)
    if value is None:
        problems.add(place, f"{name} is missing")
    elif not isinstance(value, str):
        problems.add(place, f"{name} is not a string")
    elif not value.strip():
        problems.add(place, f"{name} is empty")
    elif len(value) > longest:
        problems.add(place, f"{name} has {len(value)} characters; at most {longest} are allowed")
    elif not _is_unicode(value):
        problems.add(place, f"{name} is not valid Unicode (half of a surrogate pair)")
    else:
        return value.strip()
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
