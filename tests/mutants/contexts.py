"""A pytest plugin that tells coverage which test runs: with its fixtures, and a shared fixture for its whole file."""

from collections.abc import Generator

import coverage
import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Count what runs from here as run by the test."""
    _switch(item.nodeid)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Count a fixture that several tests share as run by all tests of its file."""
    if fixturedef.scope == "function":
        return (yield)
    _switch(request.node.nodeid)
    try:
        return (yield)
    finally:
        _switch(request._pyfuncitem.nodeid)


def _switch(context: str) -> None:
    if (measuring := coverage.Coverage.current()) is not None:
        measuring.switch_context(context)
