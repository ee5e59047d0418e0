"""A server of a Redis Cluster: client, doctor and workers say that it is not supported."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pointsman_producer.client import single_try
from pointsman_producer.client.client import Client
from pointsman_producer.deployment import embedded_redis
from pointsman_producer.diagnostics import examination
from pointsman_shared import errors
from pointsman_shared.settings import Settings
from tests.support import reaper

TIMEOUT_S = 60
SAID = "leads to a Redis Cluster, which is not supported"


@pytest.fixture(params=["all slots", pytest.param("no slot", marks=pytest.mark.slow)])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    # The port of the cluster's own bus is this one and 10,000.
    port = next(port for port in iter(embedded_redis.free_port, 0) if port < 55_000)
    process = subprocess.Popen(
        [embedded_redis.find_binary(), "--port", str(port), "--cluster-enabled", "yes", "--dir", tmp_path],
        stdout=subprocess.DEVNULL,
    )
    reaper.adopt(process.pid)
    try:
        settings = Settings.model_validate({"redis_url": f"redis://127.0.0.1:{port}/0"})
        embedded_redis.wait_until_it_answers(settings, alive=lambda: process.poll() is None)
        if request.param == "all slots":
            with single_try.connect(settings) as store:
                store.execute_command("CLUSTER", "ADDSLOTS", *range(16_384))
        yield settings
    finally:
        process.kill()
        process.wait(TIMEOUT_S)


def test_client_doctor_and_workers_say_that_a_cluster_is_not_supported(cluster: Settings) -> None:
    with Client(settings=cluster) as client, pytest.raises(errors.SettingsError, match=SAID):
        client.classify("hello")
    with Client(settings=cluster) as client, pytest.raises(errors.SettingsError, match=SAID):
        client.train("base")
    problems = [found.detail for found in examination.examine(cluster, "here") if found.status == "problem"]
    assert problems == ["it is a cluster, which Pointsman does not support"]
    for app in ("app", "trainer"):
        worker = subprocess.run(
            [
                sys.executable,
                "-m",
                "celery",
                "--quiet",
                "-A",
                f"pointsman_workers.{app}",
                "worker",
                "-c",
                "1",
            ],
            env={"PATH": "", **cluster.environ(), **reaper.mark()},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert worker.returncode == os.EX_CONFIG
        assert SAID in worker.stderr
        assert "Traceback" not in worker.stderr + worker.stdout
