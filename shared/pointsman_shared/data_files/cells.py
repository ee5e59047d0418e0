"""Cells of CSV files that people open: a spreadsheet must not take a customer's words for a formula."""

import re
from typing import Final

GUARD: Final = "'"
_FORMULA = re.compile(rf"{GUARD}*[=+\-@\t\r]")


def guard(value: object) -> object:
    """Put an apostrophe before a text that a spreadsheet would take for a formula, or that already looks guarded."""
    return GUARD + value if isinstance(value, str) and _FORMULA.match(value) else value


def unguard(text: str) -> str:
    """Return the text that was guarded."""
    return text[1:] if text[:1] == GUARD and _FORMULA.match(text) else text
