"""Celery's events of tasks, which a worker sends only while a program receives them: they cost a third of a small message."""

import time
from typing import Any, Final

from celery.app.events import Events as CeleryEvents
from celery.events import EventDispatcher

from pointsman_workers.delivery import channel

# While no program receives them, a process sends one event in so many seconds, to learn whether one does now.
LOOK_S: Final = 1.0
_TASK: Final = "task-"


class Dispatcher(EventDispatcher):
    """Sends the events of workers, and those of tasks if the last ones had a receiver.

    The worker's heartbeat, every two seconds, tells as well. So a program that begins to receive events misses those of two
    seconds at most.
    """

    _look_at = 0.0

    def send(self, type: str, *args: Any, **fields: Any) -> Any:  # noqa: A002, ANN401  Celery's signature
        """Send an event, unless it is a task's and no program would receive it."""
        if not type.startswith(_TASK) or self._is_heard():
            return super().send(type, *args, **fields)
        return None

    def _is_heard(self) -> bool:
        if any(channel.listeners.values()):
            return True
        if (now := time.monotonic()) < self._look_at:
            return False
        self._look_at = now + LOOK_S
        return True


class Events(CeleryEvents):
    """Celery's access to events, with the dispatcher of this module."""

    dispatcher_cls = f"{__name__}:Dispatcher"
