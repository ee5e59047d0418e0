"""Beat as it was when it went down, and real processes of it."""

import contextlib
import datetime
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pointsman_shared.broker import config as broker_config
from pointsman_shared.settings import Settings
from pointsman_workers.training import schedule
from tests.support import reaper

ROOT = Path(__file__).parents[2]


def crontab_of(moment: datetime.datetime) -> str:
    """Give the crontab that means a moment every day."""
    return f"{moment.minute} {moment.hour} * * *"


def leave_behind(path: Path, settings: Settings, went_down: datetime.datetime) -> None:
    """Write the file of a beat that sent everything up to a moment, and nothing since."""
    with broker_config.make_app(settings) as app:
        schedule.configure(app, settings)
        scheduler = schedule.PunctualScheduler(app=app, schedule_filename=str(path))
        for entry in scheduler.schedule.values():
            entry.last_run_at = went_down
        scheduler.close()


@contextlib.contextmanager
def beat(settings: Settings, schedule_file: Path, app: str = "pointsman_workers.app") -> Iterator[Path]:
    """Run a beat and give its log."""
    log = schedule_file.with_suffix(".log")
    command = [
        "-A",
        app,
        "beat",
        "-s",
        str(schedule_file),
        "--pidfile=",
        "--loglevel",
        "INFO",
    ]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "--quiet", *command],
            env={"PATH": "", "PYTHONPATH": str(ROOT), **settings.environ(), **reaper.mark()},
            stdout=file,
            stderr=file,
        )
    try:
        yield log
    finally:
        process.terminate()
        process.wait(20)
