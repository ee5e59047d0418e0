"""The training application: `celery -A pointsman_workers.trainer worker -c 1`, for the queue `train`."""

from typing import Any

from celery import signals

from pointsman_shared import names
from pointsman_workers import celery_settings, composition, intake, leaving, pulse, tasks

with celery_settings.explained():
    app = celery_settings.make_training_app(composition.settings())
    tasks.register_training(app)


@signals.worker_ready.connect
def _begin(sender: Any, **_: Any) -> None:  # noqa: ANN401  whatever the signal carries
    composition.start_pulse(sender.hostname, intake.hearing(names.TRAIN_TASK))
    leaving.leave_in_time(pulse.end_this_process)
