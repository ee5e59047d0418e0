"""What beat does about the times that came while it was down."""

import datetime
from pathlib import Path
from typing import Any

import pytest

from pointsman_shared.broker import config as broker_config
from pointsman_shared.settings import Settings
from pointsman_workers.training import schedule
from tests.support import beats

HOUR = datetime.timedelta(hours=1)


class Watched(schedule.PunctualScheduler):
    """Notes what it would send."""

    def send_task(self, *args: Any, **kwargs: Any) -> None:
        self.sent = [*getattr(self, "sent", []), kwargs["task_id"]]


def sent_by_beat(folder: Path, *, times: str, went_down: datetime.datetime) -> list[str]:
    """Let beat go down at a moment, start again now and tick a few times."""
    settings = Settings(train_schedule={"base": times})
    beats.leave_behind(folder / "schedule", settings, went_down)
    with broker_config.make_app(settings) as app:
        app.conf.update(broker_url="memory://", broker_transport=None, broker_transport_options={})
        schedule.configure(app, settings)
        scheduler = Watched(app=app, schedule_filename=str(folder / "schedule"))
        for _ in range(4):
            scheduler.tick()
        scheduler.close()
    return getattr(scheduler, "sent", [])


@pytest.fixture
def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def test_of_several_runs_that_were_missed_the_last_one_is_made_up_for(
    tmp_path: Path, now: datetime.datetime
) -> None:
    missed = now - 2 * HOUR
    times = beats.crontab_of(missed)
    (run,) = sent_by_beat(tmp_path, times=times, went_down=now - 100 * HOUR)
    assert run == f"train-base-{missed.replace(second=0, microsecond=0).isoformat()}"


def test_a_run_that_was_missed_too_long_ago_is_left_to_the_next_time(
    tmp_path: Path, now: datetime.datetime
) -> None:
    times = beats.crontab_of(now - 7 * HOUR)
    assert sent_by_beat(tmp_path, times=times, went_down=now - 100 * HOUR) == []


def test_what_was_sent_before_beat_went_down_is_not_sent_again(
    tmp_path: Path, now: datetime.datetime
) -> None:
    times = beats.crontab_of(now - 2 * HOUR)
    assert sent_by_beat(tmp_path, times=times, went_down=now - HOUR) == []
