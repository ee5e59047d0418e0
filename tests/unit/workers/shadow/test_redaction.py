"""What is kept of a text that is kept."""

import pytest

from pointsman_shared import errors
from pointsman_workers.shadow import redaction


def test_addresses_digits_and_long_tokens_are_masked() -> None:
    text = "mail ann@example.com or 0171-55, see https://example.com/reset?key=abcdef"
    assert redaction.mask(text) == "mail <e-mail> or ####-##, see <token>"
    assert len(redaction.mask("hi " * 9_000)) <= redaction.MAX_CHARS


def test_off_keeps_nothing_and_another_function_can_be_named() -> None:
    assert redaction.load("off")("secret") is None
    assert redaction.load("builtins:repr")("hi") == "'hi'"
    with pytest.raises(errors.SettingsError, match="POINTSMAN_SHADOW_REDACTOR"):
        redaction.load("nowhere:nothing")
