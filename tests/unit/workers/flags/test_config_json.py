"""What may serve as a flag configuration, and what is refused."""

import json
from typing import Any

import pytest
from configcatclient import configentry
from hypothesis import given
from hypothesis import strategies as st

from pointsman_shared import errors
from pointsman_workers.flags import config_json
from tests.support import flag_config

scalars = st.none() | st.booleans() | st.integers(-2, 40) | st.floats(allow_nan=False) | st.text(max_size=5)
keys = st.sampled_from(["f", "p", "s", "r", "c", "v", "t", "u", "a", "i", "proModel"])
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4)
)
conditions = st.lists(
    st.fixed_dictionaries({}, optional={"s": anything, "u": anything}) | anything, max_size=2
)
rules = st.lists(st.fixed_dictionaries({}, optional={"c": conditions | anything, "s": anything}), max_size=2)
settings = st.fixed_dictionaries({}, optional={"r": rules | anything, "v": anything, "t": anything})
documents = st.fixed_dictionaries(
    {}, optional={"f": st.dictionaries(keys, settings | anything, max_size=2), "p": anything, "s": anything}
)


@given(documents | anything)
def test_whatever_is_accepted_can_be_read_by_the_sdk(document: Any) -> None:
    text = json.dumps(document)
    try:
        accepted = config_json.check(text)
    except errors.InvalidDataError:
        return
    entry = configentry.ConfigEntry.create_from_string(f"1000\netag\n{accepted}")
    assert set(entry.config["f"]) == set(document["f"])


@given(st.binary(max_size=200))
def test_bytes_are_accepted_or_refused_but_nothing_else_happens(content: bytes) -> None:
    with pytest.raises(errors.InvalidDataError):
        config_json.check(config_json.decode(content))


def test_a_whole_configuration_is_left_as_it_is() -> None:
    text = json.dumps(flag_config.plan_flag("proModel", "pro"))
    assert config_json.check(text) == text


def test_a_file_may_start_with_a_byte_order_mark() -> None:
    text = json.dumps(flag_config.plan_flag("proModel", "pro"))
    assert config_json.decode(b"\xef\xbb\xbf" + text.encode()) == text


def test_the_simple_format_of_the_sdk_is_refused() -> None:
    with pytest.raises(errors.InvalidDataError):
        config_json.check('{"flags": {"proModel": true}}')


def test_a_refusal_says_where_and_does_not_quote_the_content() -> None:
    document = flag_config.document({"proModel": {"t": 0, "r": [{"c": "anna@example.com"}]}})
    with pytest.raises(errors.InvalidDataError, match=r"f\.proModel\.r\.0\.c: ") as refusal:
        config_json.check(json.dumps(document))
    assert "anna" not in str(refusal.value)


@pytest.mark.parametrize("segment", [1, -1, "0", None])
def test_a_rule_about_a_segment_that_is_not_there_is_refused(segment: Any) -> None:
    rule = {"c": [{"s": {"s": segment, "c": 0}}], "s": {"v": {"b": True}}}
    document = {"s": [{"n": "beta", "r": []}], **flag_config.document({"proModel": {"t": 0, "r": [rule]}})}
    with pytest.raises(errors.InvalidDataError, match=r"segment|f\.proModel\.r\.0\.c\.0\.s\.s: "):
        config_json.check(json.dumps(document))


def needing(*keys: str) -> dict[str, Any]:
    return {
        "t": 0,
        "v": {"b": True},
        "r": [{"c": [{"p": {"f": key, "c": 0, "v": {"b": True}}}]} for key in keys],
    }


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"a": needing("b"), "b": needing("a")}, "lead back to it"),
        ({"a": needing("a")}, "lead back to it"),
        ({"a": needing("nosuch")}, "the flag 'nosuch', which does not exist"),
        (
            {f"f{place}": needing(*[f"f{place + 1}"] * 2) for place in range(12)} | {"f12": needing()},
            "1000 steps",
        ),
        ({"a": {"t": 4, "v": {"b": True}}}, "f.a.t"),
        ({"a": {"t": -1, "v": {"b": True}}}, "f.a.t"),
    ],
)
def test_flags_that_cannot_be_evaluated_are_refused(flags: dict[str, Any], reason: str) -> None:
    with pytest.raises(errors.InvalidDataError, match=reason):
        config_json.check(json.dumps(flag_config.document(flags)))


def test_flags_may_need_each_other_in_a_row() -> None:
    flags = {f"f{place}": needing(f"f{place + 1}") for place in range(12)} | {"f12": needing()}
    text = json.dumps(flag_config.document(flags))
    assert config_json.check(text) == text
