"""The serving application: `celery -A pointsman_workers.app worker`.

An ordinary Celery worker for the queues `interactive` and `bulk`. Both tiers are loaded before the pool forks.
"""

from typing import Any

from celery import signals

from pointsman_shared import names
from pointsman_workers import bootstrap
from pointsman_workers.delivery import consumer
from pointsman_workers.process import celery_config, heartbeat, shutdown
from pointsman_workers.serving import task as serving_task
from pointsman_workers.shadow import task as shadow_task
from pointsman_workers.training import schedule

with celery_config.explained():
    app = celery_config.make_serving_app(bootstrap.settings())
    schedule.configure(app, bootstrap.settings())
    serving_task.register_serving(app)


@signals.worker_init.connect
def _prepare_parent(**_: Any) -> None:  # noqa: ANN401  whatever the signal carries
    bootstrap.load_before_fork()
    bootstrap.start_flag_poller()


@signals.worker_ready.connect
def _begin(sender: Any, **_: Any) -> None:  # noqa: ANN401  whatever the signal carries
    bootstrap.start_reconciler()
    bootstrap.start_pulse(sender.hostname, consumer.hearing(names.CLASSIFY_TASK))
    _begin_shadow(sender.controller.concurrency)
    shutdown.leave_in_time(heartbeat.end_this_process)


def _call_for_shadow(brief: bool) -> None:
    shadow_task.call(app, brief)


def _begin_shadow(processes: int) -> None:
    if not shadow_task.shadows(app):
        return
    yields = shadow_task.serves(app)
    bootstrap.start_shadow(
        _call_for_shadow,
        consumer.activity,
        yields=yields,
        # Where users are served, one process is left to them if there are several.
        most=max(1, processes - 1) if yields else processes,
    )


@signals.worker_process_init.connect
def _prepare_child(**_: Any) -> None:  # noqa: ANN401  whatever the signal carries
    bootstrap.process()


@signals.worker_process_shutdown.connect
def _leave(**_: Any) -> None:  # noqa: ANN401  whatever the signal carries
    bootstrap.process().close()


@signals.worker_shutdown.connect
def _close_parent(**_: Any) -> None:  # noqa: ANN401  whatever the signal carries
    bootstrap.stop_reconciler()
    bootstrap.stop_flag_poller()
