"""Two beats that come back after a night: what was missed is done once, what was missed too long ago not at all."""

import datetime
from pathlib import Path

import pytest
from redis import Redis

from tests.support import beats, live_tiers, running
from tests.support.deadlines import eventually
from tests.support.default_keys import TRAIN, keys

HOUR = datetime.timedelta(hours=1)
DEADLINE_S = 60


@pytest.mark.slow
def test_a_run_that_two_beats_missed_is_done_once(tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    times = {"base": beats.crontab_of(now - HOUR), "pro": beats.crontab_of(now - 9 * HOUR)}
    extra = {"data_dir": live_tiers.write(tmp_path / "data"), "train_schedule": times}
    with running.deployment(tmp_path, extra=extra) as deployed:
        files = [tmp_path / "first", tmp_path / "second"]
        for file in files:
            beats.leave_behind(file, deployed.settings, now - 50 * HOUR)
        with (
            beats.beat(deployed.settings, files[0]) as one,
            beats.beat(deployed.settings, files[1]) as other,
            Redis.from_url(deployed.settings.redis_url.get_secret_value()) as redis,
        ):
            eventually(
                lambda: all("Sending due task train base" in log.read_text() for log in (one, other)),
                "both beats ask for it",
                DEADLINE_S,
            )
            # Beat says so before it does so.
            eventually(
                lambda: any(redis.scan_iter(keys.done("train-*"))), "one of them is answered", DEADLINE_S
            )
            eventually(
                lambda: not redis.llen(TRAIN) and not redis.hlen(keys.train_unacked),
                "both requests are answered",
                DEADLINE_S,
            )
            assert len(list(redis.scan_iter(keys.done("train-*")))) == 1
        assert "train pro" not in one.read_text() + other.read_text()
        assert (deployed.registry.versions("base"), deployed.registry.versions("pro")) == ([1, 2], [1])
        assert deployed.registry.card("base", 2).requested_by == "schedule"
