"""The check of a flag configuration before it serves: the outline of a config JSON v6.

Refused is what makes the whole document unusable, a flag of an unknown type, and prerequisites that lead in a circle or
whose evaluation would take too long: the last good configuration goes on serving. Any other malformed flag fails when it is
evaluated.
"""

import codecs
import hashlib
import json
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pointsman_shared import errors
from pointsman_shared.wire import jobs

# Boolean, text, whole number, number.
LAST_TYPE: Final = 3
# How many flags the evaluation of one flag may look at.
MOST_STEPS: Final = 1_000
SHOWN_CHARS: Final = 100

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


class _Prerequisite(_Strict):
    f: str


class _Condition(_Strict):
    s: _SegmentCondition | None = None
    p: _Prerequisite | None = None


class _Rule(_Strict):
    c: list[_Condition] = Field(default_factory=list)


class _Setting(_Strict):
    t: int = Field(default=0, ge=0, le=LAST_TYPE)
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

    @model_validator(mode="after")
    def _check_prerequisites(self) -> Self:
        needs = {
            key: [each.p.f for rule in setting.r for each in rule.c if each.p]
            for key, setting in self.f.items()
        }
        steps: dict[str, int] = {}
        try:
            # Each flag after those it needs.
            for key in TopologicalSorter(needs).static_order():
                if key not in needs:
                    msg = f"a targeting rule needs the flag {key[:SHOWN_CHARS]!r}, which does not exist"
                    raise ValueError(msg)
                steps[key] = 1 + sum(steps[needed] for needed in needs[key])
        except CycleError:
            msg = "the prerequisites of a flag lead back to it"
            raise ValueError(msg) from None
        if max(steps.values(), default=0) > MOST_STEPS:
            msg = f"the prerequisites of a flag take more than {MOST_STEPS} steps to evaluate"
            raise ValueError(msg)
        return self
