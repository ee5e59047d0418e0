"""Names of versions on the wire."""

import pytest

from pointsman_shared import errors
from pointsman_shared.wire import shadow


@pytest.mark.parametrize(("name", "parsed"), [("pro@7", ("pro", 7)), ("a@b@12", ("a@b", 12))])
def test_a_version_is_named_by_its_tier_and_its_number(name: str, parsed: tuple[str, int]) -> None:
    assert shadow.parse_version(name) == parsed


@pytest.mark.parametrize("name", ["pro", "@7", "pro@", "pro@x", "pro@-1", ""])
def test_what_names_no_version_is_refused(name: str) -> None:
    with pytest.raises(errors.InvalidMessageError, match="names no version"):
        shadow.parse_version(name)
