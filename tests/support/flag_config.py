"""Builds small ConfigCat config JSON v6 documents."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

TIER_FLAG: Final = "proModel"

Value = bool | int | float | str

IS_ONE_OF = 0
_TYPES: dict[type, tuple[int, str]] = {bool: (0, "b"), str: (1, "s"), int: (2, "i"), float: (3, "d")}


def document(flags: Mapping[str, Mapping[str, Any]], *, salt: str = "test-salt") -> dict[str, Any]:
    """Put flags made by `flag` together into a whole configuration."""
    preferences = {"u": "https://cdn-global.configcat.com", "r": 0, "s": salt}
    return {"p": preferences, "f": dict(flags)}


def flag(
    value: Value,
    *,
    variation: str = "otherwise",
    rules: Sequence[Mapping[str, Any]] = (),
    percentages: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Make a flag: the value for all users whom neither rules nor percentages send elsewhere."""
    setting = {"t": _TYPES[type(value)][0], "a": "Identifier", **_served(value, variation)}
    return setting | ({"r": list(rules)} if rules else {}) | ({"p": list(percentages)} if percentages else {})


def rule(
    attribute: str,
    values: Sequence[str],
    value: Value,
    *,
    variation: str = "targeted",
    comparator: int = IS_ONE_OF,
) -> dict[str, Any]:
    """Make a targeting rule: users whose attribute is one of the values get the value."""
    return {"c": [_condition(attribute, values, comparator)], "s": _served(value, variation)}


def percentage_rule(
    attribute: str, values: Sequence[str], options: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Make a targeting rule that serves percentages instead of one value."""
    return {"c": [_condition(attribute, values, IS_ONE_OF)], "p": list(options)}


def percentage(share: int, value: Value, *, variation: str) -> dict[str, Any]:
    """Make a percentage option: `share` of 100 users get the value."""
    return {"p": share, **_served(value, variation)}


def plan_flag(key: str, *plans: str, on: bool = True) -> dict[str, Any]:
    """Make a configuration whose only flag is on for the users of some plans, off for the others."""
    return document({key: flag(not on, rules=[rule("plan", plans, on, variation="plans")])})


def _condition(attribute: str, values: Sequence[str], comparator: int) -> dict[str, Any]:
    return {"u": {"a": attribute, "c": comparator, "l": list(values)}}


def _served(value: Value, variation: str) -> dict[str, Any]:
    return {"v": {_TYPES[type(value)][1]: value}, "i": variation}
