"""The fields of a transcript's line, checked one by one, whatever format they come from.

What is wrong is raised as `UnusableError`, which does not say where: the reader knows the line.
"""

import math
from typing import Any, NamedTuple

import pydantic_core

from pointsman_shared import errors
from pointsman_shared.wire import jobs

# Every outcome of a conversation repeats its id.
MAX_IDENTIFIER_CHARS = 1_000
MAX_INTEGER = 2**63
USER_FIELDS = tuple(jobs.User.model_fields)

Timestamp = str | int | float | None


class UnusableError(ValueError):
    """What is wrong with one line."""


class Piece(NamedTuple):
    """A line that holds one turn of a conversation, or, without an id, a conversation of its own."""

    conversation_id: str | None
    speaker: str
    text: str
    ts: Timestamp
    user: jobs.User | None


def parse_object(line: bytes) -> dict[str, Any]:
    """Take a line for a JSON object."""
    try:
        record = pydantic_core.from_json(line, allow_inf_nan=False)
    except ValueError as error:
        msg = f"is not JSON: {error}"
        raise UnusableError(msg) from None
    if type(record) is not dict:
        msg = "is not a JSON object"
        raise UnusableError(msg)
    return record


def parse_turn(entry: object) -> tuple[str, str, Timestamp]:
    """Check the types of a turn; give its speaker, text and time."""
    if not isinstance(entry, dict):
        msg = "is not a JSON object"
        raise UnusableError(msg)
    speaker, text, ts = entry.get("speaker"), entry.get("text"), entry.get("ts")
    if type(speaker) is not str or not speaker:
        msg = "speaker is not a string" if speaker else "speaker is missing"
        raise UnusableError(msg)
    if type(text) is not str:
        msg = "text is missing" if text is None else "text is not a string"
        raise UnusableError(msg)
    if ts is not None and type(ts) is not str and not _is_number(ts):
        msg = "ts is neither a string nor a number"
        raise UnusableError(msg)
    return speaker, text, ts


def _is_number(value: object) -> bool:
    return _is_integer(value) or (type(value) is float and math.isfinite(value))


def _is_integer(value: object) -> bool:
    # Not isinstance: a bool is an int. And none that the outcome could not be written with.
    return type(value) is int and -MAX_INTEGER < value < MAX_INTEGER


def check_text(text: str) -> None:
    """Refuse a text that cannot be classified."""
    if not text or text.isspace():
        msg = "text is empty"
        raise UnusableError(msg)
    if len(text) > jobs.MAX_TEXT_CHARS:
        msg = f"text has {len(text)} characters; at most {jobs.MAX_TEXT_CHARS} are allowed"
        raise UnusableError(msg)


def identifier(value: object, name: str) -> str:
    """Take a string or an integer for an id; `name` is what a message calls it."""
    if _is_integer(value):
        return str(value)
    if type(value) is not str or not value:
        msg = f"{name} is missing" if value is None or value == "" else f"{name} is not a string"
        raise UnusableError(msg)
    if len(value) > MAX_IDENTIFIER_CHARS:
        msg = f"{name} is longer than {MAX_IDENTIFIER_CHARS} characters"
        raise UnusableError(msg)
    return value


def parse_user(value: object) -> jobs.User | None:
    """Take a bare id or an object for a user; keys that mean nothing here are ignored."""
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


class LastUser:
    """Remembers the user of the line before: mostly the next line has the same."""

    def __init__(self) -> None:
        self._value: object = None
        self._user: jobs.User | None = None

    def get(self, value: object) -> jobs.User | None:
        """Give the user that a value stands for; see `parse_user`."""
        if value != self._value:
            self._user = parse_user(value)
            self._value = value
        return self._user


def not_utf8(error: UnicodeDecodeError) -> str:
    """Say where a line stops being text."""
    return f"is not UTF-8 at byte {error.start + 1} of the line"
