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
