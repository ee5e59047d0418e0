"""A worker that is asked to end while it does something that takes longer."""

import os
import signal
from pathlib import Path

import pytest
from redis import Redis

from pointsman_producer.client.client import Client
from pointsman_shared import names
from pointsman_shared.store import keys
from tests.support import live_tiers, running, tier_files
from tests.support.deadlines import eventually

pytestmark = pytest.mark.slow

LONG_SEARCH = tier_files.SEARCH.replace(
    "c = [0.3, 1.0]", f"c = [{', '.join(f'{place / 100:.2f}' for place in range(1, 3_000))}]"
)


def test_a_training_that_a_shutdown_cuts_off_is_not_a_step_nearer_to_being_poison(tmp_path: Path) -> None:
    data = live_tiers.write(tmp_path / "data", search=LONG_SEARCH)
    with (
        running.deployment(tmp_path, extra={"data_dir": data}) as deployed,
        Client(settings=deployed.settings) as client,
        Redis.from_url(deployed.settings.redis_url.get_secret_value()) as redis,
    ):
        run = client.train(names.BASE_TIER)
        key = keys.open(run.id)
        eventually(lambda: redis.hget(key, "starts") == b"1", "the training has begun")
        first = redis.hget(key, "delivery")
        os.kill(deployed.deployment.pids()["trainer"], signal.SIGTERM)
        eventually(lambda: redis.hget(key, "delivery") != first, "it has begun again", 60)
        assert redis.hget(key, "starts") == b"1"
        os.kill(deployed.deployment.pids()["trainer"], signal.SIGKILL)
