"""The fields of a transcript's line, in any format."""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

import pydantic_core
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from pointsman_shared import errors
from pointsman_shared.data_files import validation
from pointsman_shared.wire import jobs

# Every outcome of a conversation repeats its id.
MAX_IDENTIFIER_CHARS = 1_000
MAX_INTEGER = 2**63
USER_FIELDS = tuple(jobs.User.model_fields)

# The parser counts the lines of what it was given, which is a single line of the file.
_POSITION = re.compile(r" at line \d+ column \d+$")

Timestamp = str | int | float | None


class UnusableError(ValueError):
    """A line cannot be used; the reader knows which line it is."""


def _is_integer(value: object) -> bool:
    # A bool is an int too, and an outcome cannot be written with a larger one.
    return type(value) is int and -MAX_INTEGER < value < MAX_INTEGER


def _identifier(value: object) -> str:
    if _is_integer(value):
        return str(value)
    if type(value) is not str or not value:
        msg = "is missing" if value is None or value == "" else "is not a string"
        raise ValueError(msg)
    if len(value) > MAX_IDENTIFIER_CHARS:
        msg = f"is longer than {MAX_IDENTIFIER_CHARS} characters"
        raise ValueError(msg)
    return value


def _timestamp(value: Any) -> Timestamp:  # noqa: ANN401  any JSON value
    if value is None or type(value) is str or _is_integer(value):
        return value  # type: ignore[no-any-return]
    if type(value) is float and math.isfinite(value):
        return value
    msg = "is neither a string nor a number"
    raise ValueError(msg)


Identifier = Annotated[str, PlainValidator(_identifier)]
Speaker = Annotated[str, Field(min_length=1)]


class _Fields(BaseModel):
    model_config = ConfigDict(strict=True)

    @classmethod
    def parse(cls, record: Mapping[str, Any]) -> Self:
        """Check a record (`UnusableError`)."""
        try:
            return cls.model_validate(record)
        except ValidationError as error:
            raise UnusableError(validation.describe(error)[0]) from None


class TurnFields(_Fields):
    """A turn of a conversation."""

    speaker: Speaker
    text: str
    ts: Annotated[Timestamp, PlainValidator(_timestamp)] = None


class FlatLine(TurnFields):
    """A line that holds one turn of a conversation, or, without an id, a conversation of its own."""

    conversation_id: Identifier | None = None
    user: Any = None


class NestedLine(_Fields):
    """A line that holds a conversation."""

    conversation_id: Identifier
    turns: list[TurnFields]
    user: Any = None


def parse_object(line: bytes) -> dict[str, Any]:
    """Read a line as a JSON object."""
    try:
        record = pydantic_core.from_json(line, allow_inf_nan=False)
    except ValueError as error:
        msg = f"is not JSON: {_POSITION.sub('', str(error))}"
        raise UnusableError(msg) from None
    if type(record) is not dict:
        msg = "is not a JSON object"
        raise UnusableError(msg)
    return record


def parse_text(line: bytes) -> dict[str, Any]:
    """Read a line as a text."""
    try:
        return {"text": line.decode("utf-8").rstrip("\r\n")}
    except UnicodeDecodeError as error:
        msg = f"is not UTF-8 at byte {error.start + 1} of the line"
        raise UnusableError(msg) from None


def check_text(text: str, place: str = "") -> None:
    """Refuse a text that cannot be classified."""
    if not text or text.isspace():
        msg = f"{place}text is empty"
        raise UnusableError(msg)
    if len(text) > jobs.MAX_TEXT_CHARS:
        msg = f"{place}text has {len(text)} characters; at most {jobs.MAX_TEXT_CHARS} are allowed"
        raise UnusableError(msg)


def parse_user(value: object) -> jobs.User | None:
    """Read a bare id or an object as a user; unknown keys are ignored."""
    if value is None:
        return None
    fields: dict[str, Any] = value if type(value) is dict else {"id": value}
    known = {name: fields[name] for name in USER_FIELDS if fields.get(name) is not None}
    if _is_integer(known.get("id")):
        known["id"] = str(known["id"])
    if type(custom := known.get("custom")) is dict:
        known["custom"] = {name: setting for name, setting in custom.items() if setting is not None}
    try:
        return jobs.User.parse(known)
    except errors.InvalidMessageError as error:
        msg = f"user: {error}"
        raise UnusableError(msg) from None
