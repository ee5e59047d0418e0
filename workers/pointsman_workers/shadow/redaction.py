"""Masking what may identify a person in a text, before the text is kept."""

import importlib
import re
from collections.abc import Callable
from typing import Final

from pointsman_shared import errors

Redactor = Callable[[str], str | None]

OFF: Final = "off"
MAX_CHARS: Final = 300
LONG_TOKEN: Final = 24

_EMAIL = re.compile(r"\S+@\S+")
_LONG = re.compile(rf"\S{{{LONG_TOKEN},}}")
_DIGIT = re.compile(r"\d")


def mask(text: str) -> str:
    """Mask e-mail addresses, digits and long tokens such as links and keys."""
    # Cut the text first: it comes from anywhere, and may be long.
    text = _EMAIL.sub("<e-mail>", text[: 2 * MAX_CHARS])
    return _DIGIT.sub("#", _LONG.sub("<token>", text))[:MAX_CHARS]


def keep_none(text: str) -> None:
    """Keep no text at all."""


def load(path: str) -> Redactor:
    """Import the redactor that a setting names."""
    if path == OFF:
        return keep_none
    module, _, function = path.partition(":")
    try:
        found: Redactor = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        msg = f"POINTSMAN_SHADOW_REDACTOR: {path!r} is not a MODULE:FUNCTION that can be imported"
        raise errors.SettingsError(msg) from error
    return found
