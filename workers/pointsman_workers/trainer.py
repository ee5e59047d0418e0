"""The training application: `celery -A pointsman_workers.trainer worker -c 1`, for the queue `train`."""

from typing import Any

from celery import signals

from pointsman_shared import names
from pointsman_workers import bootstrap
from pointsman_workers.delivery import consumer
from pointsman_workers.process import celery_config, heartbeat, shutdown
from pointsman_workers.serving import task as serving_task

with celery_config.explained():
    app = celery_config.make_training_app(bootstrap.settings())
    serving_task.register_training(app)


@signals.worker_ready.connect
def _begin(sender: Any, **_: Any) -> None:  # noqa: ANN401  whatever the signal carries
    bootstrap.start_pulse(sender.hostname, consumer.hearing(names.TRAIN_TASK))
    shutdown.leave_in_time(heartbeat.end_this_process)
