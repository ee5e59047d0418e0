"""Files for comparing two models: texts with or without labels, and answers that other programs gave.

A message names all problems of a file at once, by their lines, and never quotes the file.
"""

import contextlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PlainValidator, ValidationError, create_model

from pointsman_producer.transcripts import fields
from pointsman_producer.transcripts import reader as transcript_reader
from pointsman_shared import errors
from pointsman_shared.data_files import rows, utterances, validation
from pointsman_shared.wire import shadow

# The answers to a file are reported on in one message.
MAX_ROWS = 200_000
CONFIDENCE = "_confidence"

Row = TypeVar("Row", bound=BaseModel)


def _text(value: object) -> str:
    if not isinstance(value, str):
        msg = "is not a string"
        raise ValueError(msg)
    try:
        fields.check_text(value)
    except fields.UnusableError as error:
        raise ValueError(str(error).removeprefix("text ")) from None
    return value


def _confidence(value: object) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= (confidence := float(str(value))) <= 1:
            return confidence
    msg = "is no number from 0 to 1"
    raise ValueError(msg)


Text = Annotated[str, PlainValidator(_text)]
Intent = Annotated[str, Field(max_length=utterances.MAX_INTENT_CHARS)]
Confidence = Annotated[float, PlainValidator(_confidence)]
STRICT = ConfigDict(strict=True, str_strip_whitespace=True)


class _LabelledText(BaseModel):
    model_config = STRICT

    text: Text
    intent: Intent | None = None


def read_texts(path: Path) -> tuple[list[str], list[str | None] | None]:
    """Read texts, and their labels if the file has any (`InvalidDataError`)."""
    problems = rows.Problems()
    is_known = path.suffix.lower() in rows.ENDINGS
    records = rows.read(path, problems, columns=()) if is_known else []
    if not any(record.fields.get("intent") for record in records):
        return _limited(path, _customer_turns(path)), None
    problems.raise_if_any()
    found = _checked(path, records, _LabelledText, problems)
    return _limited(path, [row.text for row in found]), [row.intent for row in found]


def _customer_turns(path: Path) -> list[str]:
    rejected: list[transcript_reader.Rejection] = []
    with transcript_reader.Reader(path, reject=rejected.append) as reader:
        turns = (turn.text for conversation in reader for turn in conversation.turns)
        texts = list(itertools.islice(turns, MAX_ROWS + 1))
    rows.Problems([f"{path}:{line}: {reason}" for line, reason, _ in rejected]).raise_if_any()
    return texts


def _checked(
    path: Path, records: Sequence[rows.Record], model: type[Row], problems: rows.Problems
) -> list[Row]:
    """Check records by a row model; an empty cell counts as absent, and the case of a column's name does not count."""
    found = []
    for record in records:
        row = {name.lower(): value for name, value in record.fields.items() if value not in (None, "")}
        try:
            found.append(model.model_validate(row))
        except ValidationError as error:
            for what in validation.describe(error):
                problems.add(f"{path}:{record.line}", what)
    problems.raise_if_any()
    return found


def _limited(path: Path, texts: list[str]) -> list[str]:
    if not texts:
        msg = f"{path}: holds no texts"
        raise errors.InvalidDataError(msg)
    if len(texts) > MAX_ROWS:
        msg = f"{path}: has more than {MAX_ROWS:,} texts; compare a sample of them"
        raise errors.InvalidDataError(msg)
    return texts


def read_predictions(path: Path, served: str, candidate: str) -> shadow.Answers:
    """Read the answers of two models (`InvalidDataError`)."""
    if served == candidate:
        msg = "the two models have the same name, and so the same column"
        raise errors.InvalidDataError(msg)
    problems = rows.Problems()
    records = rows.read(path, problems, columns=())
    found: list[Any] = _checked(path, records, _prediction(served, candidate), problems)
    labels, texts = [row.label for row in found], [row.text for row in found]
    confidences = [row.served_confidence for row in found], [row.candidate_confidence for row in found]
    return shadow.Answers(
        served=shadow.Side(
            intent=_limited(path, [row.served for row in found]),
            confidence=_whole(path, confidences[0], served),
        ),
        candidate=shadow.Side(
            intent=[row.candidate for row in found], confidence=_whole(path, confidences[1], candidate)
        ),
        labels=labels if any(labels) else None,
        texts=texts if any(texts) else None,
    )


def _prediction(served: str, candidate: str) -> type[BaseModel]:
    """Make the model of a row, whose columns have the names of the two models."""
    columns: dict[str, Any] = {
        "label": (Intent | None, Field(None, validation_alias=AliasChoices("label", "intent")))
    }
    for side, name in (("served", served.lower()), ("candidate", candidate.lower())):
        columns[side] = (Intent, Field(validation_alias=name))
        columns[f"{side}_confidence"] = (Confidence | None, Field(None, validation_alias=name + CONFIDENCE))
    return create_model("Prediction", __config__=STRICT, text=(Text | None, None), **columns)


def _whole(path: Path, values: list[float | None], name: str) -> list[float] | None:
    known = [value for value in values if value is not None]
    if known and len(known) != len(values):
        msg = f"{path}: {name}{CONFIDENCE} is there in some rows only"
        raise errors.InvalidDataError(msg)
    return known or None
