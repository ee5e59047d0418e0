"""What celery beat sends: a training message per tier, at the times the settings give."""

from typing import Any

from celery.schedules import crontab

from pointsman_shared import errors, jobs, names
from pointsman_shared.settings import Settings


def entries(settings: Settings) -> dict[str, dict[str, Any]]:
    """Give beat's entries.

    Raises:
        SettingsError: A time is not a crontab of five fields.
    """
    return {f"train {tier}": _entry(tier, times) for tier, times in settings.train_schedule.items()}


def _entry(tier: str, times: str) -> dict[str, Any]:
    request = jobs.TrainRequest(tier=tier, requested_by="schedule")
    try:
        when = crontab.from_string(times)
    except (ValueError, TypeError) as error:
        msg = f"POINTSMAN_TRAIN_SCHEDULE: {times!r} for tier {tier} is not a crontab of five fields: {error}"
        raise errors.SettingsError(msg) from error
    return {
        "task": names.TRAIN_TASK,
        "schedule": when,
        "args": (request.model_dump(),),
        "options": {"queue": names.TRAIN_QUEUE, "argsrepr": f"(tier {tier})"},
    }
