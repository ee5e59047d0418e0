"""A client after a fork, and after it was closed."""

import os
import traceback
from collections.abc import Callable

import pytest

from pointsman_producer.client.client import Client
from pointsman_producer.client.users import checked_request
from pointsman_shared import errors
from pointsman_shared.settings import Settings
from tests.support.running import Running

TIMEOUT_S = 30


@pytest.fixture
def settings(shared_deployment: Running) -> Settings:
    return shared_deployment.settings


def in_child(action: Callable[[], object]) -> int:
    """Do something in a forked process, and return its exit code."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("linger_ms", [0, 5])
def test_a_client_that_was_used_serves_both_processes_after_a_fork(client: Client, linger_ms: float) -> None:
    with Client(settings=client.settings, linger_ms=linger_ms) as used:
        before = used.submit("hi")
        assert before.result(TIMEOUT_S).intent == "greeting"

        def ask() -> None:
            assert used.classify("hi", timeout_s=TIMEOUT_S).intent == "greeting"
            message = used.submit_message(checked_request(["hi"], [None]))
            assert message.result(TIMEOUT_S).intent == ["greeting"]
            assert used.models("tiers").result(TIMEOUT_S)
            used.close()

        assert in_child(ask) == 0
        assert used.classify("hi", timeout_s=TIMEOUT_S).intent == "greeting"


@pytest.mark.parametrize("linger_ms", [-1, float("nan"), 10**9])
def test_a_linger_that_is_no_time_is_refused(linger_ms: float) -> None:
    with pytest.raises(errors.SettingsError, match="linger_ms is"):
        Client(linger_ms=linger_ms)


def test_what_is_no_list_of_texts_or_goes_to_no_queue_is_refused_before_it_is_sent(client: Client) -> None:
    with pytest.raises(errors.InvalidMessageError, match="one text"):
        client.submit_many("hello")
    with pytest.raises(errors.InvalidMessageError, match="no worker reads a queue 'nope'"):
        client.submit_many(["hello"], queue="nope")
    with pytest.raises(errors.InvalidMessageError, match=r"texts\.0"):
        client.classify(b"hello")  # type: ignore[arg-type]  # as callers do


def test_a_client_that_was_closed_says_so_in_either_process(client: Client) -> None:
    client.classify("hi", timeout_s=TIMEOUT_S)
    client.close()

    def refuse() -> None:
        for ask in (
            lambda: client.classify("hi"),
            lambda: client.submit("hi"),
            lambda: client.submit_many(["hi"]),
            lambda: client.train("base"),
            lambda: client.models("list"),
        ):
            with pytest.raises(errors.ClosedError, match="make another one"):
                ask()

    refuse()
    assert in_child(refuse) == 0
