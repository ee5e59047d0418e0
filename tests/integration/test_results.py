"""How a client learns of outcomes whose notification it missed."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from pointsman_producer.client import results
from pointsman_producer.client.client import Client
from pointsman_producer.client.users import checked_request
from pointsman_shared import errors
from pointsman_shared.settings import Settings
from pointsman_shared.store.connection import Store
from tests.support.default_keys import keys

TIMEOUT_S = 15


def test_messages_without_an_outcome_do_not_keep_the_others_from_being_polled(
    settings: Settings, store: Store
) -> None:
    with Client(settings=settings) as client:
        messages = [
            client.submit_message(checked_request(["hi"], [None])) for _ in range(results.POLL_MESSAGES + 1)
        ]
        store.set(keys.result(messages[-1].id), b'{"status": "SUCCESS", "result": {}}')
        assert messages[-1].future.result(TIMEOUT_S)


@contextlib.contextmanager
def another_password(redis: Any) -> Iterator[None]:
    """Let Redis refuse everybody who comes without a new password, and end all other connections."""
    redis.config_set("requirepass", "new")
    try:
        for kind in ("normal", "pubsub"):
            redis.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        yield
    finally:
        redis.execute_command("AUTH", "new")
        redis.config_set("requirepass", "")


def test_a_wait_ends_when_redis_refuses_the_password(settings: Settings, redis: Any) -> None:
    with Client(settings=settings) as client:
        message = client.submit_message(checked_request(["hi"], [None]))
        refused = pytest.raises(errors.BrokerUnavailableError, match="Redis refuses the user or the password")
        with redis.client() as same, another_password(same), refused:
            message.future.result(TIMEOUT_S)
