"""Labelled utterances, read from a file and checked.

They need no scikit-learn, so that a command can check a file before a training does.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pointsman_shared import errors
from pointsman_shared.data_files import rows, validation

MAX_TEXT_CHARS = 20_000
MAX_INTENT_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One labelled text and its place."""

    text: str
    intent: str
    source: str
    line: int
    conversation: str | None = None
    """The `conversation_id` of its row, if there is one."""

    @property
    def place(self) -> str:
        """The file and the line, as `file:line`."""
        return f"{self.source}:{self.line}"


class _Row(BaseModel):
    model_config = ConfigDict(strict=True, str_strip_whitespace=True)

    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS)]
    intent: Annotated[str, Field(min_length=1, max_length=MAX_INTENT_CHARS)]
    conversation_id: Any = None


def read(path: Path, *, shown_as: str | None = None) -> list[Utterance]:
    """Read labelled utterances; `shown_as` is the file's name in messages and in `Utterance.source`.

    By the ending: `.jsonl` (one `{"text", "intent"}` a line), `.json` (one list of them), `.csv` (header `text,intent`),
    `.yml` / `.yaml` (Rasa NLU). Further fields are ignored. An `InvalidDataError` names all bad rows, up to 20.
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
    """Make an utterance of a record, or note its problems."""
    try:
        row = _Row.model_validate(record.fields)
    except ValidationError as error:
        for what in validation.describe(error):
            problems.add(f"{name}:{record.line}", what)
        return None
    conversation = row.conversation_id
    return Utterance(
        text=row.text,
        intent=row.intent,
        source=name,
        line=record.line,
        # Ids are often numbers.
        conversation=(str(conversation).strip() or None) if isinstance(conversation, str | int) else None,
    )
