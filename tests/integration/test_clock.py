"""The clock that machines share: that of Redis."""

import time

import pytest
from redis import Redis

from pointsman_producer.client.client import Client
from pointsman_producer.client.users import checked_request
from pointsman_shared.settings import Settings
from pointsman_shared.store import connection
from pointsman_shared.store.connection import Store
from pointsman_workers.delivery import reconciler
from tests.support.default_keys import BULK, keys
from tests.support.ledgers import open_in_flight

AHEAD_S = 2 * 3_600


def test_the_time_is_that_of_redis_which_is_seldom_asked(
    store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.config_resetstat()
    readings = [store.now() for _ in range(50)]
    assert readings == sorted(readings)
    assert abs(readings[-1] - redis.time()[0]) <= 5
    assert redis.info("commandstats")["cmdstat_time"]["calls"] == 2, "this test asked once"
    monkeypatch.setattr(connection, "CLOCK_S", -1.0)
    store.now()
    assert redis.info("commandstats")["cmdstat_time"]["calls"] == 3


def test_a_message_of_a_client_whose_clock_is_ahead_is_found_when_it_is_lost(
    client: Client, redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_time = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: true_time() + AHEAD_S)
        message = client.submit_message(checked_request(["hi"], [None]))
    redis.delete(BULK)
    assert abs((redis.zscore(keys.open_index, message.id) or 0) - redis.time()[0]) <= 5
    found = reconciler.reconcile(open_in_flight(settings), {"": -1.0}, lambda _: None)
    assert found == [message.id]


def test_a_worker_whose_clock_is_ahead_takes_no_waiting_message_for_lost(
    client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.submit_message(checked_request(["hi"], [None]))
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + AHEAD_S)
    assert open_in_flight(settings).suspects(75.0) == {}
