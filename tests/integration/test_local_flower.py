"""Flower as the launcher starts it, asked by a page whose name leads to this machine."""

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from pointsman_producer.deployment import embedded_redis
from pointsman_producer.deployment.launcher import Deployment
from pointsman_producer.deployment.supervisor import Supervisor
from pointsman_shared.settings import Settings
from tests.support.deadlines import eventually

TIMEOUT_S = 60
MISDIRECTED = 421


def status(port: int, host: str) -> int | None:
    """Return how a request for a host is answered, if it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/static/css/flower.css", headers={"Host": host})
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


@pytest.fixture
def port(settings: Settings, tmp_path: Path) -> Iterator[int]:
    pytest.importorskip("flower")
    port = embedded_redis.free_port()
    deployment = Deployment(settings, say=lambda *_: None, redis_port=None, flower_port=port)
    (flower,) = [program for program in deployment.programs() if program.name == "flower"]
    supervisor = Supervisor(lambda *_: None)
    try:
        supervisor.start(flower)
        eventually(lambda: status(port, "localhost") is not None, "Flower answers", TIMEOUT_S)
        yield port
    finally:
        supervisor.stop()


def test_flower_answers_only_requests_that_name_this_machine(port: int) -> None:
    for host in ("localhost", f"LOCALHOST:{port}", "127.0.0.1:80", "[::1]", f"[::1]:{port}"):
        assert status(port, host) == 200, host
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "::1",
    ):
        assert status(port, host) == MISDIRECTED, host
