"""What a flag configuration has to look like before it may serve: the outline of a config JSON v6.

Only what would make the whole document unusable is refused. A flag that is malformed in itself may be nobody's
concern here, and fails when it is evaluated.
"""

import hashlib
import json
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pointsman_shared import errors
from pointsman_shared.wire import jobs

# The SDK's simple file format holds bare values; config JSON v6 wants each one's type: its code and its key.
_SIMPLE_TYPES: Final = {bool: (0, "b"), str: (1, "s"), int: (2, "i"), float: (3, "d")}


def make_etag(origin: str, content: bytes) -> str:
    """Make an etag for content that came without one."""
    return f"{origin}-{hashlib.blake2b(content, digest_size=6).hexdigest()}"


def decode(content: bytes) -> str:
    """Decode UTF-8, with or without a byte order mark.

    Raises:
        InvalidDataError: It is not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        msg = "not UTF-8 text"
        raise errors.InvalidDataError(msg) from None


def check(text: str) -> str:
    """Give the text back if it is a config JSON v6.

    Raises:
        InvalidDataError: It is none. The text of the error never quotes the content.
    """
    _validate(_parse(text))
    return text


def check_file(content: bytes) -> str:
    """Give the config JSON v6 that a file's content is, or stands for in the SDK's simple format.

    Raises:
        InvalidDataError: It is neither. The text of the error never quotes the content.
    """
    text = decode(content)
    document = _parse(text)
    if isinstance(document, dict) and "flags" in document:
        return json.dumps(_expand(document["flags"]))
    _validate(document)
    return text


def _parse(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"not JSON: {error}"
        raise errors.InvalidDataError(msg) from None


def _validate(document: object) -> None:
    try:
        _Document.model_validate(document)
    except ValidationError as error:
        msg = f"not a config JSON v6: {jobs.describe(error)}"
        raise errors.InvalidDataError(msg) from None


def _expand(flags: object) -> dict[str, Any]:
    """Turn the SDK's simple format into config JSON v6."""
    if not isinstance(flags, dict):
        msg = '"flags" is not an object'
        raise errors.InvalidDataError(msg)
    unusable = [key for key, value in flags.items() if type(value) not in _SIMPLE_TYPES]
    if unusable:
        msg = f"neither true, false, a text nor a number: {', '.join(sorted(unusable))}"
        raise errors.InvalidDataError(msg)
    return {"f": {key: _setting(value) for key, value in flags.items()}}


def _setting(value: bool | float | str) -> dict[str, Any]:
    code, key = _SIMPLE_TYPES[type(value)]
    return {"t": code, "v": {key: value}}


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)


class _SegmentCondition(_Strict):
    s: int


class _Condition(_Strict):
    s: _SegmentCondition | None = None


class _Rule(_Strict):
    c: list[_Condition] = Field(default_factory=list)


class _Setting(_Strict):
    r: list[_Rule] = Field(default_factory=list)


class _Document(_Strict):
    p: dict[str, Any] = Field(default_factory=dict)
    s: list[Any] = Field(default_factory=list)
    f: dict[str, _Setting]

    @model_validator(mode="after")
    def _check_segments(self) -> Self:
        conditions = (each for setting in self.f.values() for rule in setting.r for each in rule.c)
        if any(each.s and each.s.s not in range(len(self.s)) for each in conditions):
            msg = "a targeting rule names a segment that is not there"
            raise ValueError(msg)
        return self
