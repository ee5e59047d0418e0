"""The serving application: `celery -A pointsman_workers.app worker`.

An ordinary Celery worker for the queues `interactive` and `bulk`. Both tiers are loaded before the pool forks.
"""

from typing import Any

from celery import signals

from pointsman_shared import names
from pointsman_workers import (
    celery_settings,
    composition,
    intake,
    leaving,
    pulse,
    schedule,
    shadow_tasks,
    tasks,
)

with celery_settings.explained():
    app = celery_settings.make_serving_app(composition.settings())
    schedule.configure(app, composition.settings())
    tasks.register_serving(app)


@signals.worker_init.connect
def _prepare_parent(**_: Any) -> None:  # noqa: ANN401  whatever the signal carries
    composition.load_before_fork()
    composition.start_flag_poller()


@signals.worker_ready.connect
def _begin(sender: Any, **_: Any) -> None:  # noqa: ANN401  whatever the signal carries
    composition.start_reconciler()
    composition.start_pulse(sender.hostname, intake.hearing(names.CLASSIFY_TASK))
    _begin_shadow(sender.controller.concurrency)
    leaving.leave_in_time(pulse.end_this_process)


def _call_for_shadow(brief: bool) -> None:
    shadow_tasks.call(app, brief)


def _begin_shadow(processes: int) -> None:
    if not shadow_tasks.shadows(app):
        return
    yields = shadow_tasks.serves(app)
    composition.start_shadow(
        _call_for_shadow,
        intake.activity,
        yields=yields,
        # Where users are served, one process is left to them if there are several.
        most=max(1, processes - 1) if yields else processes,
    )


@signals.worker_process_init.connect
def _prepare_child(**_: Any) -> None:  # noqa: ANN401  whatever the signal carries
    composition.process()


@signals.worker_process_shutdown.connect
def _leave(**_: Any) -> None:  # noqa: ANN401  whatever the signal carries
    composition.process().close()


@signals.worker_shutdown.connect
def _close_parent(**_: Any) -> None:  # noqa: ANN401  whatever the signal carries
    composition.stop_reconciler()
    composition.stop_flag_poller()
