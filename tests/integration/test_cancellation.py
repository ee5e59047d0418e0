"""The script that cancels a message, alone on a real Redis."""

import base64
import json

import pytest

from pointsman_producer.client import cancellation
from pointsman_producer.client.client import Client
from pointsman_shared.settings import Settings
from pointsman_shared.store.connection import Store
from tests.support.default_keys import keys

TTL_S = 60


def submit(store: Store, message_id: str, *, batch: str = "") -> None:
    """Leave what a producer leaves of a message of two texts."""
    arguments = [[{"texts": ["a", "b"], "batch": batch}], {}, {}]
    body = base64.b64encode(json.dumps(arguments).encode()).decode()
    message = json.dumps({"body": body, "properties": {"reply_to": "client"}})
    store.hset(keys.open(message_id), "message", message)
    store.zadd(keys.open_index, {message_id: 1.0})


def test_a_cancelled_message_has_an_outcome_and_no_entry_and_its_client_hears_of_it(store: Store) -> None:
    submit(store, "m", batch="b")
    with store.pubsub() as heard:  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
        heard.subscribe(keys.reply_channel("client"))
        heard.get_message(timeout=5)
        assert cancellation.cancel(store, "m", TTL_S)
        assert heard.get_message(timeout=5)["data"] == b"m"
    stored = json.loads(store.get(keys.result("m")) or b"")
    assert (stored["status"], stored["result"]["exc_type"]) == ("FAILURE", "CancelledError")
    assert store.exists(keys.open("m")) == 0
    assert store.zcard(keys.open_index) == 0
    assert store.hgetall(keys.batch("b")) == {b"cancelled": b"2"}
    assert 0 < store.ttl(keys.result("m")) <= TTL_S


def test_a_message_is_cancelled_once(store: Store) -> None:
    submit(store, "m", batch="b")
    assert [cancellation.cancel(store, "m", TTL_S) for _ in range(2)] == [True, False]
    assert store.hget(keys.batch("b"), "cancelled") == b"2"


def test_a_message_with_an_outcome_is_not_cancelled(store: Store) -> None:
    submit(store, "m")
    outcome = b'{"status": "SUCCESS", "result": {}}'
    store.set(keys.result("m"), outcome)
    assert not cancellation.cancel(store, "m", TTL_S)
    assert store.get(keys.result("m")) == outcome


def test_a_message_whose_effects_are_proven_is_not_cancelled(store: Store) -> None:
    submit(store, "m")
    store.set(keys.done("m"), "1")
    assert not cancellation.cancel(store, "m", TTL_S)
    assert store.get(keys.result("m")) is None


def test_a_batch_is_cancelled_by_a_mark_that_expires(store: Store) -> None:
    cancellation.cancel_batch(store, "b", TTL_S)
    assert 0 < store.ttl(keys.cancelled("b")) <= TTL_S


@pytest.mark.parametrize(
    ("message_id", "cancelled"),
    [
        ("m", "m:1"),
        ("m", "m"),
        ("train:base:2026-11-27T03:30", "train:base:2026-11-27T03:30"),
        ("a:7", "a:7:0"),
    ],
)
def test_a_message_is_cancelled_by_its_own_id_or_by_that_of_a_job(
    store: Store, settings: Settings, message_id: str, cancelled: str
) -> None:
    submit(store, message_id)
    with Client(settings=settings) as client:
        assert not client.cancel("unknown:1")
        assert client.cancel(cancelled)
    assert store.exists(keys.done(message_id)) == 1
    assert store.exists(keys.done("unknown")) == 0
