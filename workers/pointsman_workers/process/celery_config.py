"""The settings of a Celery worker beyond those that producers share; `docs/reliability.md` has the reasons."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from kombu import Exchange, Queue

from pointsman_shared import errors


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """End the process with one line, without a traceback, if a setting cannot be used."""
    try:
        yield
    except errors.SettingsError as error:
        sys.stderr.write(f"{errors.SAID_BY}{error}\n")
        sys.exit(os.EX_CONFIG)


def queues_named(names: Iterable[str]) -> list[Queue]:
    """Give each queue an exchange of its own: on a shared one, every queue would get every message."""
    return [Queue(name, Exchange(name), routing_key=name) for name in names]


def worker_configuration(*, transport: str, consumer: type) -> dict[str, Any]:
    """Return the Celery settings of a worker that consumes through our transport and consumer."""
    return {
        # The broker lets a message go only when its outcome is stored.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_store_errors_even_if_ignored": True,
        # No message waits behind another one in a child while a second child idles.
        "worker_prefetch_multiplier": 1,
        "worker_soft_shutdown_timeout": 4,
        # A child that is forked while the processors are busy is not stuck after four seconds.
        "worker_proc_alive_timeout": 30,
        # Celery would end after a hundred attempts to connect.
        "broker_connection_max_retries": None,
        "broker_transport": transport,
        "worker_consumer": consumer,
        # A task that runs while the connection is lost may finish: its outcome counts once.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_send_task_events": True,
        "worker_log_format": "%(asctime)s %(levelname)s %(name)s: %(message)s",
        "worker_task_log_format": "%(asctime)s %(levelname)s %(task_name)s[%(task_id)s]: %(message)s",
    }


def quieten() -> None:
    """Keep routine out of the logs: at thousands of messages a second, "received" and "succeeded" are noise."""
    logging.getLogger("celery.worker.strategy").setLevel(logging.WARNING)
    logging.getLogger("celery.app.trace").setLevel(logging.WARNING)
