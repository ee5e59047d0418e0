"""What a Celery worker of ours is told beyond what producers share; `docs/reliability.md` has the reasons."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Any

from celery import Celery
from kombu import Exchange, Queue

from pointsman_shared import errors, names
from pointsman_shared.broker import config as broker_config
from pointsman_shared.settings import Settings
from pointsman_workers.delivery import consumer


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """End the process with one line, not a traceback, if a setting cannot be used."""
    try:
        yield
    except errors.SettingsError as error:
        sys.exit(f"pointsman: {error}")


def worker_configuration(queues: tuple[str, ...]) -> dict[str, Any]:
    """Give the Celery settings of a worker that consumes some queues."""
    return {
        # Each queue on an exchange of its own: on a shared one, every queue would get every message.
        "task_queues": [Queue(name, Exchange(name), routing_key=name) for name in queues],
        # A message is gone from the broker only when its outcome is stored.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_store_errors_even_if_ignored": True,
        # No message waits behind another in a child while its neighbour idles.
        "worker_prefetch_multiplier": 1,
        "worker_soft_shutdown_timeout": 4,
        # Celery would give up, and end, after a hundred tries.
        "broker_connection_max_retries": None,
        # What is no sound message is put aside before Celery sees it.
        "worker_consumer": "pointsman_workers.delivery.consumer:WatchfulConsumer",
        # What runs when the connection is lost may finish: its outcome counts once, whoever else does it again.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_send_task_events": True,
        "worker_log_format": "%(asctime)s %(levelname)s %(name)s: %(message)s",
        "worker_task_log_format": "%(asctime)s %(levelname)s %(task_name)s[%(task_id)s]: %(message)s",
    }


def make_serving_app(settings: Settings) -> Celery:
    """Build the application of a serving worker."""
    app = broker_config.make_app(settings)
    # Looked at last: shadow work is for when nobody waits.
    spare = (names.SHADOW_QUEUE,) if settings.shadow_in_serving else ()
    app.conf.update(worker_configuration((*names.SERVING_QUEUES, *spare)))
    app.conf.broker_transport = consumer.for_url(app.conf.broker_url)
    _quieten()
    return app


def make_training_app(settings: Settings) -> Celery:
    """Build the application of a trainer, whose messages may stay unacknowledged much longer.

    Each consumer of the Redis transport gives back what anybody left unacknowledged for its own visibility timeout,
    so a trainer books its messages under keys of its own: a serving worker must not restart a long training.
    """
    app = broker_config.make_app(settings)
    app.conf.update(worker_configuration((names.TRAIN_QUEUE,)))
    app.conf.broker_transport = consumer.for_url(app.conf.broker_url)
    options = broker_config.transport_options(app.conf.broker_url, settings.train_visibility_timeout_s)
    if options:
        options |= {f"unacked{part}_key": f"unacked{part}:train" for part in ("", "_index", "_mutex")}
    app.conf.broker_transport_options = options
    _quieten()
    return app


def _quieten() -> None:
    """Keep routine out of the logs: at thousands of messages a second, "received" and "succeeded" say nothing."""
    logging.getLogger("celery.worker.strategy").setLevel(logging.WARNING)
    logging.getLogger("celery.app.trace").setLevel(logging.WARNING)
