"""A serving worker in a thread of the test's process: what the processes of a deployment do, where a test can see it.

It runs one message at a time and knows no time limits; a worker of processes is `running.deployment`.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from celery import signals
from celery.contrib.testing.worker import start_worker

from pointsman_shared.settings import Settings
from pointsman_workers import bootstrap
from pointsman_workers.delivery.task import WorkerApp

SIGNALS = (
    signals.worker_init,
    signals.worker_process_init,
    signals.worker_ready,
    signals.worker_process_shutdown,
    signals.worker_shutdown,
)


@contextlib.contextmanager
def serving(settings: Settings, patch: pytest.MonkeyPatch) -> Iterator[WorkerApp]:
    """Run a serving worker; its signals reach it alone, not the other applications of the process."""
    # Otherwise Celery would set up the logging of the whole process.
    signals.setup_logging.connect(_leave_logging)
    handlers: dict[Any, Any] = {}
    patch.setattr(bootstrap, "_connect", handlers.__setitem__)
    for signal in SIGNALS:
        patch.setattr(signal, "receivers", [])
    with bootstrap.serving_app(settings) as app:
        handlers[signals.worker_init]()
        handlers[signals.worker_process_init]()
        with start_worker(app, perform_ping_check=False, shutdown_timeout=30) as worker:
            handlers[signals.worker_ready](sender=worker.consumer)  # type: ignore[attr-defined]  # the types lack it
            try:
                yield app
            finally:
                handlers[signals.worker_shutdown]()
                handlers[signals.worker_process_shutdown]()


def _leave_logging(**_: object) -> None:
    """Set up nothing."""
