"""Questions about comparisons, and names of versions, on the wire."""

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


def test_a_file_to_compare_has_at_least_one_text() -> None:
    pair = {"served": "a@1", "candidate": "a@2"}
    assert shadow.CompareRequest.parse({**pair, "texts": ["hi"]}).texts == ["hi"]
    with pytest.raises(errors.InvalidMessageError, match="texts"):
        shadow.CompareRequest.parse({**pair, "texts": []})


def test_a_question_asks_for_five_in_a_hundred_errors_and_one_in_a_hundred_lost() -> None:
    query = shadow.Query.parse({"action": "report"})
    assert (query.alpha, query.margin, query.limit) == (0.05, 0.01, 100)
