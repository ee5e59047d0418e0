"""What celery beat sends: a training message per tier, at the times the settings give.

A run's id says which tier and which time it is for. So two beats, or one that was started twice, ask for the same run,
and a trainer does a run once.
"""

import copy
import datetime
import itertools
import re
from typing import Any

from celery import Celery
from celery.beat import PersistentScheduler
from celery.schedules import BaseSchedule, crontab, schedule

from pointsman_shared import errors, names
from pointsman_shared.settings import Settings
from pointsman_shared.wire import jobs

SCHEDULER = "pointsman_workers.training.schedule:PunctualScheduler"
_EVERY = re.compile(r"every (\d{1,6}) ?(s|min|h)")
_SECONDS = {"s": 1, "min": 60, "h": 3600}
# The longest crontab that comes true at all does so within eight years: on a 29 February around 2100.
_DAYS_BACK = 8 * 366


def configure(app: Celery, settings: Settings) -> None:
    """Tell an application what beat is to send, and how late it may.

    Raises:
        SettingsError: A time cannot be used.
    """
    app.conf.beat_schedule = entries(settings)
    app.conf.beat_scheduler = SCHEDULER
    app.conf.beat_cron_starting_deadline = settings.train_catch_up_s


def entries(settings: Settings) -> dict[str, dict[str, Any]]:
    """Give beat's entries.

    Raises:
        SettingsError: A time is neither a crontab of five fields nor `every N s|min|h`.
    """
    return {f"train {tier}": _entry(tier, times) for tier, times in settings.train_schedule.items()}


def _entry(tier: str, times: str) -> dict[str, Any]:
    request = jobs.TrainRequest(tier=tier, requested_by="schedule")
    return {
        "task": names.TRAIN_TASK,
        "schedule": _parse(tier, times),
        "args": (request.model_dump(),),
        "options": {"queue": names.TRAIN_QUEUE, "argsrepr": f"(tier {tier})"},
    }


def _parse(tier: str, times: str) -> BaseSchedule:
    every = _EVERY.fullmatch(times)
    if every and int(every[1]):
        return schedule(datetime.timedelta(seconds=int(every[1]) * _SECONDS[every[2]]))
    try:
        return crontab.from_string(times)
    except (ValueError, TypeError) as error:
        msg = (
            f"POINTSMAN_TRAIN_SCHEDULE: {times!r} for tier {tier} is neither a crontab of five fields "
            f"nor like 'every 30 min': {error}"
        )
        raise errors.SettingsError(msg) from error


class PunctualScheduler(PersistentScheduler):
    """Celery's own scheduler, whose messages carry an id made of the entry and the time that has come."""

    def get_schedule(self) -> Any:  # noqa: ANN401  Celery's own types
        """Give the entries, with the application they belong to.

        They forget it whenever they are written to beat's file, and would then ask Celery's default application how
        late they may be.
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
    """Name the run that an entry is due for: equal for everybody who sends it, whenever they do.

    Args:
        entry: The entry's name.
        times: Its `crontab` or `schedule`.
        now: The time, in the time zone of the schedule.
    """
    due = _last_minute(times, now) if isinstance(times, crontab) else _last_beat(times, now)
    return f"{entry} {due.isoformat()}".replace(" ", "-")


def _last_beat(times: Any, now: datetime.datetime) -> datetime.datetime:  # noqa: ANN401  see above
    every = times.run_every.total_seconds()
    return datetime.datetime.fromtimestamp(now.timestamp() // every * every, datetime.UTC)


def _last_minute(times: Any, now: datetime.datetime) -> datetime.datetime:  # noqa: ANN401  see above
    """Give the last minute, this one included, that a crontab means."""
    minute = now.replace(second=0, microsecond=0)
    clock = sorted(itertools.product(times.hour, times.minute), reverse=True)
    for _ in range(_DAYS_BACK):
        if _means_day(times, minute):
            for hour, sharp in clock:
                if (hour, sharp) <= (minute.hour, minute.minute):
                    return minute.replace(hour=hour, minute=sharp)
        minute = (minute - datetime.timedelta(days=1)).replace(hour=23, minute=59)
    return minute


def _means_day(times: Any, day: datetime.datetime) -> bool:  # noqa: ANN401  see above
    return (
        day.month in times.month_of_year
        and day.day in times.day_of_month
        and day.isoweekday() % 7 in times.day_of_week
    )
