"""How a client learns of outcomes whose notification it missed."""

from pointsman_producer.client import results
from pointsman_producer.client.client import Client
from pointsman_producer.client.users import checked_request
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
