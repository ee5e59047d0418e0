"""The check of a flag configuration before it serves: the outline of a config JSON v6.

Only problems that make the whole document unusable are refused. A single malformed flag fails when it is evaluated.
"""

import codecs
import hashlib
import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pointsman_shared import errors
from pointsman_shared.wire import jobs

# Here, not at the first use: a child that is forked while another thread loads the codec never has it.
codecs.lookup("utf-8-sig")


def make_etag(origin: str, content: bytes) -> str:
    """Make an etag for content that has none."""
    return f"{origin}-{hashlib.blake2b(content, digest_size=6).hexdigest()}"


def decode(content: bytes) -> str:
    """Decode UTF-8, with or without a byte order mark."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        msg = "not UTF-8 text"
        raise errors.InvalidDataError(msg) from None


def check(text: str) -> str:
    """Return the text if it is a config JSON v6."""
    _validate(_parse(text))
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
            msg = "a targeting rule names a segment that does not exist"
            raise ValueError(msg)
        return self
