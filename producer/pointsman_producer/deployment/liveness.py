"""Noticing workers that run and do not work: whose process is there, but whose queue is not heard from any more."""

import threading
import time
from collections.abc import Mapping
from typing import Protocol

from pointsman_producer.deployment import embedded_redis
from pointsman_producer.deployment.supervisor import Say
from pointsman_shared.settings import Settings
from pointsman_shared.store import heartbeat
from pointsman_shared.store.connection import UNAVAILABLE, Store

LOOK_S = 2.0
# A worker loads its models before it hears from its queues for the first time.
START_S = 60.0
ANSWER_TIMEOUT_S = 2.0


class Worker(Protocol):
    """A program that is kept running."""

    @property
    def pid(self) -> int | None:
        """The running process."""
        ...

    def restart(self) -> None:
        """Kill the program; it is started again."""
        ...


class Guard:
    """A daemon thread of the launcher.

    Args:
        settings: Where Redis is.
        workers: The programs by the names of their Celery nodes.
        say: Told what is done.
    """

    def __init__(self, settings: Settings, workers: Mapping[str, Worker], say: Say) -> None:
        url = settings.redis_url.get_secret_value()
        self._redis = Store.from_url(
            url,
            socket_timeout=ANSWER_TIMEOUT_S,
            socket_connect_timeout=ANSWER_TIMEOUT_S,
            retry=embedded_redis.ONCE,
        )
        self._workers = workers
        self._say = say
        self._deaf_since: dict[str, float] = {}
        self._begun: dict[str, tuple[int | None, float]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="guard", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def rest(self) -> None:
        """Have nothing started again any more."""
        self._stopped.set()

    def stop(self) -> None:
        """End, after the step under way."""
        self.rest()
        self._thread.join()
        self._redis.close()

    def look(self, now: float) -> None:
        """Look at each worker, and have those started again that were deaf for long while Redis answered."""
        for node, worker in self._workers.items():
            if self._is_well(node, worker, now):
                self._deaf_since.pop(node, None)
            elif self._stopped.is_set():
                return
            elif now - self._deaf_since.setdefault(node, now) >= heartbeat.DEAF_AFTER_S:
                self._say(
                    node.partition("@")[0],
                    "WARNING does not hear from its queues any more; starting it again",
                )
                del self._deaf_since[node]
                worker.restart()

    def _is_well(self, node: str, worker: Worker, now: float) -> bool:
        pid, since = self._begun.setdefault(node, (worker.pid, now))
        if pid != worker.pid:
            self._begun[node] = (worker.pid, now)
            return True
        try:
            return heartbeat.is_serving(self._redis, node, time.time()) or now - since < START_S
        except UNAVAILABLE:
            return True

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_S):
            self.look(time.monotonic())
