"""Redis answers, but refuses: it is full, or it was made a replica. No worker ends of it, and one that starts goes on trying."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest
from redis import Redis

from pointsman_producer.client.client import Client
from pointsman_producer.client.users import checked_request
from pointsman_shared.settings import Settings
from tests.support import running
from tests.support.deadlines import eventually, outlast
from tests.support.default_keys import keys
from tests.support.redis_server import RedisServer
from tests.support.running import Running

MESSAGES = 30
TIMEOUT_S = 60
# A worker asks for a message so long.
ASKED_S = 1
# Longer than a worker waits for a message, and than it waits before it connects again.
REFUSES_S = 5


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder, extra = tmp_path_factory.mktemp("refusing"), {"visibility_timeout_s": 10}
    with (
        RedisServer.start() as server,
        running.deployment(folder, redis_url=server.url, extra=extra) as deployment,
    ):
        yield deployment


@pytest.fixture
def settings(deployed: Running) -> Settings:
    return deployed.settings


def test_a_worker_that_starts_while_redis_is_full_does_what_waits(
    deployed: Running, client: Client, redis: Redis
) -> None:
    before, noted = deployed.deployment.pids(), len(deployed.log)
    request = checked_request(["hi"] * 100, [None] * 100)
    os.kill(before["serving"], signal.SIGKILL)
    eventually(lambda: deployed.deployment.pids().get("serving") != before["serving"], "the worker is gone")
    outlast(ASKED_S, "what the worker asked for, which could take a message with it")
    waiting = [client.submit_message(request) for _ in range(MESSAGES)]
    redis.config_set("maxmemory", 1)
    try:
        for message in waiting:
            assert message.result(TIMEOUT_S).intent == ["greeting"] * 100
        after = deployed.deployment.pids()
        outlast(REFUSES_S, "what a worker does while it waits")
        assert deployed.deployment.pids() == after
        assert after["trainer"] == before["trainer"]
        eventually(lambda: redis.hlen(keys.unacked) == 0, "all acknowledged", TIMEOUT_S)
        assert not [line for line in deployed.log[noted:] if "Traceback" in line or "Error in timer" in line]
    finally:
        redis.config_set("maxmemory", 0)
    assert client.classify("hi", timeout_s=TIMEOUT_S).intent == "greeting"
    assert deployed.deployment.pids() == after


def test_workers_and_producers_outlive_that_their_redis_is_a_replica_for_a_while(
    deployed: Running, client: Client, redis: Redis
) -> None:
    client.classify("hi", timeout_s=TIMEOUT_S)
    before = deployed.deployment.pids()
    redis.replicaof("127.0.0.1", "1")
    back = threading.Timer(REFUSES_S, redis.replicaof, ("no", "one"))
    back.start()
    # It waits for the fail-over.
    meanwhile = client.submit("hi")
    back.join()
    assert meanwhile.result(TIMEOUT_S).intent == "greeting"
    assert client.classify("hi", timeout_s=TIMEOUT_S).intent == "greeting"
    eventually(lambda: deployed.deployment.pids() == before, "the same processes")
