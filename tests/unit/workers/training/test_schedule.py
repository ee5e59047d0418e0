"""When beat asks for training, and that two requests for the same time ask for the same run."""

import datetime
from pathlib import Path

import pytest
from celery import Celery
from celery.schedules import crontab

from pointsman_shared import errors
from pointsman_shared.settings import Settings
from pointsman_workers.training import schedule as schedules
from tests.support import tier_files


def at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("times", "now", "due"),
    [
        ("0 3 * * *", "2026-11-21 03:00:07", "2026-11-21T03:00:00+00:00"),
        ("0 3 * * *", "2026-11-21 03:59:59", "2026-11-21T03:00:00+00:00"),
        ("0 3 * * *", "2026-11-21 02:59:59", "2026-11-20T03:00:00+00:00"),
        ("*/15 * * * *", "2026-11-21 10:44:00", "2026-11-21T10:30:00+00:00"),
        ("30 1 * * 0", "2026-11-21 12:00:00", "2026-11-15T01:30:00+00:00"),
        ("0 0 1 1 *", "2026-11-21 12:00:00", "2026-01-01T00:00:00+00:00"),
        ("0 0 29 2 *", "2026-11-21 12:00:00", "2024-02-29T00:00:00+00:00"),
    ],
)
def test_a_run_is_named_after_the_last_time_its_crontab_meant(times: str, now: str, due: str) -> None:
    assert schedules.run_id("train base", crontab.from_string(times), at(now)) == f"train-base-{due}"


def test_tiers_have_runs_of_their_own() -> None:
    times, now = crontab.from_string("0 3 * * *"), at("2026-11-21 04:00:00")
    assert schedules.run_id("train base", times, now) != schedules.run_id("train pro", times, now)


def test_settings_become_entries() -> None:
    wanted = {"base": "0 3 * * *", "pro": "0 */6 * * *"}
    entries = schedules.entries(Settings(train_schedule=wanted))
    assert entries["train base"]["schedule"] == crontab(minute="0", hour="3")
    assert entries["train pro"]["schedule"] == crontab(minute="0", hour="*/6")


def test_a_tier_that_is_not_declared_is_refused(tmp_path: Path) -> None:
    tier_files.small_tier(tmp_path)
    with (
        Celery() as app,
        pytest.raises(errors.SettingsError, match="SCHEDULE: no tier 'bsae' is declared; there are: small"),
    ):
        schedules.configure(app, Settings(data_dir=tmp_path, train_schedule={"bsae": "0 3 * * *"}))


@pytest.mark.parametrize("times", ["3 o'clock", "every 6 h", "every day", "61 3 * * *"])
def test_a_time_that_cannot_be_used_is_refused(times: str) -> None:
    with pytest.raises(errors.SettingsError, match="POINTSMAN_TRAIN_SCHEDULE"):
        schedules.entries(Settings(train_schedule={"base": times}))
