"""`docs/configuration.md` against the settings."""

import re
from pathlib import Path

import pytest

from pointsman_shared.settings import PREFIX, Settings

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"
ROWS = dict(re.findall(rf"^\| `({PREFIX}\w+)` \| (.+?) \|", PAGE.read_text(), re.MULTILINE))
DEFAULTS = Settings().environ()


def test_the_page_has_every_setting_and_no_other() -> None:
    assert set(ROWS) == {PREFIX + field.upper() for field in Settings.model_fields}


@pytest.mark.parametrize("variable", sorted(ROWS))
def test_the_page_gives_the_default(variable: str) -> None:
    default = DEFAULTS.get(variable)

    assert ROWS[variable] == (f"`{default}`" if default else "unset")
