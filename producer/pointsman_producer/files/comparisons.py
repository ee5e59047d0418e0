"""Files for comparing two models: texts with or without labels, and answers that were given elsewhere.

What is wrong with a file is said at once, with line numbers and without quoting it; nothing is compared then.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pointsman_producer.transcripts import fields
from pointsman_producer.transcripts import reader as transcript_reader
from pointsman_shared import errors
from pointsman_shared.data_files import rows, utterances

# The answers to a file are reported on in one message.
MAX_ROWS = 200_000
LABEL_NAMES = ("label", "intent")
CONFIDENCE = "_confidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What two models answered to the same texts, in columns."""

    served_intents: list[str]
    candidate_intents: list[str]
    served_confidence: list[float] | None
    candidate_confidence: list[float] | None
    labels: list[str | None] | None
    texts: list[str | None] | None


def read_texts(path: Path) -> tuple[list[str], list[str | None] | None]:
    """Read texts, and their labels if the file has any.

    Rows with an `intent` are labelled utterances in any format that training reads; rows may lack it. Without any, the
    file is one of transcripts, whose customers' turns are meant.

    Raises:
        InvalidDataError: The file cannot be read, has bad rows, or too many.
    """
    records = _labelled(path)
    if records is None:
        return _customer_turns(path), None
    problems = rows.Problems()
    texts = []
    labels = []
    for record in records:
        place = f"{path}:{record.line}"
        texts.append(_text(record, place, problems))
        labels.append(_intent(record.fields, "intent", place, problems))
    problems.raise_if_any()
    return _checked_length(path, texts), labels


def _labelled(path: Path) -> list[rows.Record] | None:
    """Read a file as labelled utterances; None if no row has a label."""
    if path.suffix.lower() not in rows.ENDINGS:
        return None
    problems = rows.Problems()
    records = rows.read(path, problems, columns=())
    if not any(record.fields.get("intent") for record in records):
        return None
    problems.raise_if_any()
    return records


def _customer_turns(path: Path) -> list[str]:
    problems = rows.Problems()

    def reject(rejection: transcript_reader.Rejection) -> None:
        problems.add(f"{path}:{rejection.line}", rejection.reason)

    with transcript_reader.Reader(path, reject=reject) as reader:
        turns = (turn.text for conversation in reader for turn in conversation.turns)
        texts = list(itertools.islice(turns, MAX_ROWS + 1))
    problems.raise_if_any()
    return _checked_length(path, texts)


def _checked_length(path: Path, texts: list[str]) -> list[str]:
    if not texts:
        msg = f"{path}: holds no texts"
        raise errors.InvalidDataError(msg)
    if len(texts) > MAX_ROWS:
        msg = f"{path}: has more than {MAX_ROWS:,} texts; compare a sample of them"
        raise errors.InvalidDataError(msg)
    return texts


def read_predictions(path: Path, served: str, candidate: str) -> Predictions:
    """Read answers that two models gave.

    JSON lines, a JSON list or CSV: the intents in columns named as the models are; if known, `NAME_confidence` (0 to 1),
    `label` (or `intent`) for the right answer and `text`.

    Raises:
        InvalidDataError: The file cannot be read, has bad rows, or too many.
    """
    if served == candidate:
        msg = "the two models have the same name, and so the same column"
        raise errors.InvalidDataError(msg)
    problems = rows.Problems()
    records = rows.read(path, problems, columns=())
    answers: dict[str, list[str]] = {served: [], candidate: []}
    confidences: dict[str, list[float]] = {served: [], candidate: []}
    labels: list[str | None] = []
    texts: list[str | None] = []
    for record in records:
        place = f"{path}:{record.line}"
        # The columns of CSV have small letters only.
        row = {name.lower(): value for name, value in record.fields.items()}
        for name in (served, candidate):
            intent = _intent(row, name.lower(), place, problems)
            if intent is None:
                problems.add(place, f"{name} is missing: each model's answers are in a column of its name")
            answers[name].append(intent or "")
            confidence = _confidence(row, f"{name.lower()}{CONFIDENCE}", place, problems)
            if confidence is not None:
                confidences[name].append(confidence)
        label_name = next((name for name in LABEL_NAMES if row.get(name)), LABEL_NAMES[0])
        labels.append(_intent(row, label_name, place, problems))
        texts.append(_text(record, place, problems) if row.get("text") else None)
    for name, found in confidences.items():
        if found and len(found) != len(records):
            problems.add(str(path), f"{name}{CONFIDENCE} is there in some rows only")
    problems.raise_if_any()
    _checked_length(path, answers[served])
    return Predictions(
        served_intents=answers[served],
        candidate_intents=answers[candidate],
        served_confidence=confidences[served] or None,
        candidate_confidence=confidences[candidate] or None,
        labels=labels if any(labels) else None,
        texts=texts if any(texts) else None,
    )


def _text(record: rows.Record, place: str, problems: rows.Problems) -> str:
    text = record.fields.get("text")
    if not isinstance(text, str):
        problems.add(place, "text is missing" if text is None else "text is not a string")
        return ""
    try:
        fields.check_text(text)
    except fields.UnusableError as error:
        problems.add(place, str(error))
    return text


def _intent(row: Mapping[str, object], name: str, place: str, problems: rows.Problems) -> str | None:
    intent = row.get(name)
    if intent is None or intent == "":
        return None
    if not isinstance(intent, str):
        problems.add(place, f"{name} is not a string")
        return None
    if len(intent) > utterances.MAX_INTENT_CHARS:
        problems.add(place, f"{name} has more than {utterances.MAX_INTENT_CHARS} characters")
    return intent.strip()


def _confidence(row: Mapping[str, object], name: str, place: str, problems: rows.Problems) -> float | None:
    given = row.get(name)
    if given is None or given == "":
        return None
    try:
        confidence = float(str(given))
    except ValueError:
        confidence = -1.0
    if not 0 <= confidence <= 1:
        problems.add(place, f"{name} is no number from 0 to 1")
        return None
    return confidence
