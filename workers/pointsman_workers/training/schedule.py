"""The schedule of celery beat: a training message per tier, at the times in the settings.

A run's id names the tier and the time that it is for. So two beats, or one that was started twice, ask for the same run,
and a trainer runs it once.
"""

import copy
import datetime
import itertools
from typing import Any, Final

from celery import Celery
from celery.beat import PersistentScheduler
from celery.schedules import crontab

from pointsman_models.data import tiers
from pointsman_shared import errors, names
from pointsman_shared.settings import Settings
from pointsman_shared.wire import jobs

EXAMPLE: Final = "30 3 * * *"
SCHEDULER = "pointsman_workers.training.schedule:PunctualScheduler"
# A missed training is started late, once, if it is not later than this.
CATCH_UP_S = 21_600
# The rarest crontab comes true within eight years: on a 29 February around 2100.
_DAYS_BACK = 8 * 366


def configure(app: Celery, settings: Settings) -> None:
    """Set an application's schedule for beat; SettingsError if it names a tier that is not declared."""
    if settings.train_schedule:
        declared = tiers.load(settings.data_dir)
        for tier in settings.train_schedule:
            if tier not in declared:
                msg = f"POINTSMAN_TRAIN_SCHEDULE: no tier {tier!r} is declared; there are: {', '.join(declared)}"
                raise errors.SettingsError(msg)
    app.conf.beat_schedule = entries(settings)
    app.conf.beat_scheduler = SCHEDULER
    app.conf.beat_cron_starting_deadline = CATCH_UP_S


def entries(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return beat's entries."""
    return {f"train {tier}": _entry(tier, times) for tier, times in settings.train_schedule.items()}


def _entry(tier: str, times: str) -> dict[str, Any]:
    request = jobs.TrainRequest(tier=tier, requested_by="schedule")
    return {
        "task": names.TRAIN_TASK,
        "schedule": _parse(tier, times),
        "args": (request.model_dump(),),
        "options": {"argsrepr": f"(tier {tier})"},
    }


def _parse(tier: str, times: str) -> crontab:
    try:
        return crontab.from_string(times)
    except (ValueError, TypeError) as error:
        why = f": {error}" if len(times.split()) == len(EXAMPLE.split()) else ""
        msg = (
            f"POINTSMAN_TRAIN_SCHEDULE: {times!r} for tier {tier} is not a crontab of five fields, "
            f"as {EXAMPLE!r}{why}"
        )
        raise errors.SettingsError(msg) from error


class PunctualScheduler(PersistentScheduler):
    """Celery's own scheduler, whose messages carry an id made of the entry and the scheduled time."""

    def get_schedule(self) -> Any:  # noqa: ANN401  Celery's own types
        """Return the entries with their application.

        Entries lose it when they are written to beat's file, and would then use the limit of Celery's default
        application for how late they may be.
        """
        entries: dict[str, Any] = super().get_schedule()
        for entry in entries.values():
            entry.app = entry.schedule.app = self.app
        return entries

    schedule = property(get_schedule, PersistentScheduler.set_schedule)

    def apply_async(self, entry: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  Celery's own types
        """Send an entry's message."""
        if entry.task == names.TRAIN_TASK:
            entry = copy.copy(entry)
            entry.options = {
                **entry.options,
                "task_id": run_id(entry.name, entry.schedule, self.app.now()),
            }
        return super().apply_async(entry, *arguments, **options)


def run_id(entry: str, times: Any, now: datetime.datetime) -> str:  # noqa: ANN401  Celery ships no types for schedules
    """Name the run that an entry is due for; every beat gives it the same name."""
    due = _last_minute(times, now)
    return f"{entry} {due.isoformat()}".replace(" ", "-")


def _last_minute(times: Any, now: datetime.datetime) -> datetime.datetime:  # noqa: ANN401  see above
    """Return the last minute, this one included, that a crontab matches."""
    minute = now.replace(second=0, microsecond=0)
    clock = sorted(itertools.product(times.hour, times.minute), reverse=True)
    for _ in range(_DAYS_BACK):
        if _matches_day(times, minute):
            for hour, sharp in clock:
                if (hour, sharp) <= (minute.hour, minute.minute):
                    return minute.replace(hour=hour, minute=sharp)
        minute = (minute - datetime.timedelta(days=1)).replace(hour=23, minute=59)
    return minute


def _matches_day(times: Any, day: datetime.datetime) -> bool:  # noqa: ANN401  see above
    return (
        day.month in times.month_of_year
        and day.day in times.day_of_month
        and day.isoweekday() % 7 in times.day_of_week
    )
