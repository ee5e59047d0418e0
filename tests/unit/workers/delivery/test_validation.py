"""What passes for a message, and what does not."""

import base64
import contextlib
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


TASKS = {names.CLASSIFY_TASK}


def read(message: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    return validation.read(json.dumps(message).encode(), TASKS)


def test_a_sound_message_passes_with_its_body() -> None:
    body = [[{"texts": ["hi"]}], {}, {"callbacks": None, "chain": [], "chord": None}]
    message = garbage.message(body)
    assert read(message) == (message, body)


@pytest.mark.parametrize("name", ["celery.starmap", "celery.chunks"])
def test_celerys_own_tasks_are_none_of_ours(name: str) -> None:
    message = garbage.message()
    message["headers"]["task"] = name
    with pytest.raises(validation.UnknownTaskError, match="knows no such task"):
        validation.read(json.dumps(message).encode(), TASKS | {name})


def test_a_producers_time_limits_are_not_taken() -> None:
    message = garbage.message()
    message["headers"]["timelimit"] = [0.002, 0.001]
    assert "timelimit" not in read(message)[0]["headers"]


@given(raw=st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_lies_on_a_queue_is_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(MalformedMessageError):
        envelope, body = validation.read(raw, TASKS)
        assert isinstance(envelope["headers"], dict)
        assert len(body) == 3


@given(name=NAMES, value=JSON)
def test_whatever_stands_in_a_header_passes_or_is_refused(name: str, value: object) -> None:
    message = garbage.message()
    message["headers"][name] = value
    try:
        read(message)
    except MalformedMessageError as error:
        assert name in str(error) or "task" in str(error) or "nested" in str(error)  # noqa: PT017  all are right


@given(body=JSON)
def test_whatever_a_body_holds_passes_or_is_refused(body: object) -> None:
    message = garbage.message()
    message["body"] = base64.b64encode(json.dumps(body).encode()).decode()
    with contextlib.suppress(MalformedMessageError):
        assert read(message)[1] == body


# Celery finds out that an eta is no time.
@pytest.mark.parametrize("kind", sorted(garbage.KINDS.keys() - {"an eta that is no time"}))
def test_garbage_is_refused_without_quoting_it(kind: str) -> None:
    with pytest.raises(MalformedMessageError) as refusal:
        validation.read(garbage.KINDS[kind](), TASKS)
    assert garbage.SECRET not in str(refusal.value)


def test_half_of_a_surrogate_pair_is_refused_in_a_body() -> None:
    message = garbage.message([[{"texts": ["\ud83d"]}], {}, None])
    with pytest.raises(MalformedMessageError, match="cannot be read as JSON"):
        read(message)


@pytest.mark.parametrize(("length", "passes"), [(200, True), (201, False)])
@pytest.mark.parametrize("name", ["id", "task"])
def test_names_have_at_most_two_hundred_characters(name: str, length: int, passes: bool) -> None:
    message, value = garbage.message(), "x" * length
    message["headers"][name] = value
    raw = json.dumps(message).encode()
    if passes:
        assert validation.read(raw, {*TASKS, value})[0]["headers"][name] == value
    else:
        with pytest.raises(MalformedMessageError, match=f"headers.{name}"):
            validation.read(raw, {*TASKS, value})


@pytest.mark.parametrize(
    ("name", "value", "passes"),
    [
        ("retries", 0, True),
        ("retries", 2**31 - 1, True),
        ("retries", 2**31, False),
        ("retries", -1, False),
        ("retries", True, False),
        ("timelimit", [None, 0.5], True),
        ("timelimit", [0, None], False),
        ("timelimit", [2**31, None], False),
        ("timelimit", [1], False),
        ("eta", "x" * 4_096, True),
        ("eta", "x" * 4_097, False),
        ("eta", "", True),
    ],
)
def test_headers_have_limits(name: str, value: object, passes: bool) -> None:
    message = garbage.message()
    message["headers"][name] = value
    if passes:
        assert read(message)[0]["headers"].get(name, value) == value
    else:
        with pytest.raises(MalformedMessageError, match=f"headers.{name}"):
            read(message)


def test_a_message_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = json.dumps(garbage.message()).encode()
    monkeypatch.setattr(validation, "MAX_BYTES", len(raw))
    validation.read(raw, TASKS)
    monkeypatch.setattr(validation, "MAX_BYTES", len(raw) - 1)
    with pytest.raises(MalformedMessageError, match="bytes; at most"):
        validation.read(raw, TASKS)


@pytest.mark.parametrize(("levels", "is_shallow"), [(0, True), (1, True), (5, True), (6, False), (60, False)])
def test_nesting_is_counted_in_levels(levels: int, is_shallow: bool) -> None:
    value: object = 7
    for level in range(levels):
        value = [value, 1] if level % 2 else {"inner": value}
    assert validation.is_shallow(value, 5) is is_shallow


@pytest.mark.parametrize(("levels", "passes"), [(32, True), (33, False)])
def test_a_body_is_nested_at_most_so_deeply(levels: int, passes: bool) -> None:
    request: object = "hi"
    # The body and its arguments are two levels.
    for _ in range(levels - 2):
        request = [request]
    message = garbage.message([[request], {}, None])
    if passes:
        assert read(message)[1][0] == [request]
    else:
        with pytest.raises(MalformedMessageError, match="nested deeper than 32"):
            read(message)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("properties", "delivery_tag", ""),
        ("properties", "body_encoding", "base32"),
        ("properties", "reply_to", "x" * 4_097),
        ("properties", "priority", -1),
        ("headers", "id", ""),
        ("headers", "compression", "gzip"),
    ],
)
def test_a_part_that_no_worker_understands_is_named(part: str, name: str, value: object) -> None:
    message = garbage.message()
    message[part][name] = value
    with pytest.raises(MalformedMessageError, match=f"{part}.{name}"):
        read(message)


@pytest.mark.parametrize(
    ("name", "value"), [("body", ""), ("content-type", "application/x-yaml"), ("content-encoding", "latin-1")]
)
def test_an_envelope_of_another_kind_is_refused_by_name(name: str, value: str) -> None:
    message = garbage.message()
    message[name] = value
    with pytest.raises(MalformedMessageError, match=name):
        read(message)


@pytest.mark.parametrize("encoding", ["utf-8", "UTF-8", "utf8"])
def test_an_encoding_is_known_by_any_of_its_names(encoding: str) -> None:
    message = garbage.message()
    message["content-encoding"] = encoding
    assert read(message)[0]["content-encoding"] == encoding


def test_a_body_may_stand_there_as_it_is() -> None:
    message = garbage.message()
    body: list[Any] = [["hi"], {}, None]
    message["body"] = json.dumps(body)
    del message["properties"]["body_encoding"]
    assert read(message)[1] == body


@given(raw=st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_lies_among_the_replies_of_workers_is_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(MalformedMessageError):
        assert validation.read_reply(raw)["properties"]["delivery_tag"]


def test_a_reply_needs_no_task() -> None:
    reply = {**garbage.message(), "headers": {"ticket": "t"}}
    assert validation.read_reply(json.dumps(reply).encode()) == reply
    with pytest.raises(MalformedMessageError, match=r"headers\.task"):
        read(reply)
