"""What passes for a message, and what does not."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman_shared import names
from pointsman_workers.delivery import validation
from pointsman_workers.delivery.validation import MalformedMessageError
from tests.support import garbage

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["eta", "expires", "retries", "timelimit", "shadow", "group", "stamps", "id", "task", "stamped_headers"]
)


def check(message: dict[str, Any]) -> None:
    validation.check_headers(
        message["headers"],
        message["properties"],
        content_type=message["content-type"],
        encoding=message["content-encoding"],
        tasks={names.CLASSIFY_TASK},
    )


def test_a_sound_message_passes() -> None:
    message = garbage.message()
    assert validation.read(json.dumps(message).encode()) == message
    check(message)
    validation.check_body([[{"texts": ["hi"]}], {}, {"callbacks": None, "chain": [], "chord": None}])


@given(raw=st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_lies_on_a_queue_is_read_or_refused(raw: bytes) -> None:
    try:
        envelope = validation.read(raw)
    except MalformedMessageError:
        return
    assert isinstance(envelope["headers"], dict)


@given(name=NAMES, value=JSON)
def test_whatever_stands_in_a_header_passes_or_is_refused(name: str, value: object) -> None:
    message = garbage.message()
    message["headers"][name] = value
    try:
        check(message)
    except MalformedMessageError as error:
        assert name in str(error) or "task" in str(error)  # noqa: PT017  both ways are right


@given(body=JSON)
def test_whatever_a_body_holds_passes_or_is_refused(body: object) -> None:
    try:
        validation.check_body(body)
    except MalformedMessageError:
        return
    assert isinstance(body, list)


@pytest.mark.parametrize(("levels", "is_shallow"), [(0, True), (1, True), (5, True), (6, False), (60, False)])
def test_nesting_is_counted_in_levels(levels: int, is_shallow: bool) -> None:
    value: object = 7
    for level in range(levels):
        value = [value, 1] if level % 2 else {"inner": value}
    assert validation.is_shallow(value, 5) is is_shallow
