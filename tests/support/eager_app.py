"""The serving application, whose beat asks for each training every few seconds instead of at its crontab."""

import datetime
import os
from typing import Any

from celery.schedules import schedule as interval

from pointsman_workers import app as serving_app
from pointsman_workers.training import schedule

EVERY_S = float(os.environ.get("EAGER_EVERY_S", "5"))

app = serving_app.app


def run_id(entry: str, times: Any, now: datetime.datetime) -> str:
    """Name the run as the real one does: by the entry and the time that it is for."""
    return f"{entry} {now.timestamp() // EVERY_S * EVERY_S:.0f}".replace(" ", "-")


schedule.run_id = run_id
app.conf.beat_schedule = {
    name: {**entry, "schedule": interval(datetime.timedelta(seconds=EVERY_S))}
    for name, entry in app.conf.beat_schedule.items()
}
