"""Masking what may identify somebody in a text before it is kept."""

import importlib
import re
from collections.abc import Callable

from pointsman_shared import errors

Redactor = Callable[[str], str | None]

OFF = "off"
MAX_CHARS = 300
LONG_TOKEN = 24

_EMAIL = re.compile(r"\S+@\S+")
_LONG = re.compile(rf"\S{{{LONG_TOKEN},}}")
_DIGIT = re.compile(r"\d")


def mask(text: str) -> str:
    """Mask e-mail addresses, digits and long tokens such as links and keys."""
    # Cut before anything is looked for: the text is anybody's, and may be long.
    text = _EMAIL.sub("<e-mail>", text[: 2 * MAX_CHARS])
    return _DIGIT.sub("#", _LONG.sub("<token>", text))[:MAX_CHARS]


def keep_none(text: str) -> None:
    """Keep no text at all."""


def load(path: str) -> Redactor:
    """Find the redactor a setting names.

    Raises:
        SettingsError: It is not there.
    """
    if path == OFF:
        return keep_none
    module, _, function = path.partition(":")
    try:
        found: Redactor = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        msg = f"POINTSMAN_SHADOW_REDACTOR: {path!r} is not a MODULE:FUNCTION that can be imported"
        raise errors.SettingsError(msg) from error
    return found
