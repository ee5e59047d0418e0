"""Notice workers that run and do not work: the process is there, but it hears nothing from its queues."""

from collections.abc import Callable

from pointsman_shared.store import connection, heartbeat
from pointsman_shared.store.connection import Store

# A worker loads its models before it hears from its queues for the first time.
START_S = 60.0


class Liveness:
    """Decides when a program that runs has to be restarted, from the answers to "is it well?"."""

    def __init__(self, is_well: Callable[[], bool]) -> None:
        self._is_well = is_well
        self.started(0.0)

    def started(self, now: float) -> None:
        """Note a start: the program has time to load its models."""
        self._started_at, self._unwell_since = now, float("inf")

    def is_deaf(self, now: float) -> bool:
        """Ask, and tell whether the program has been unwell for so long that a restart is better."""
        if self._is_well() or now - self._started_at < START_S:
            self._unwell_since = float("inf")
            return False
        self._unwell_since = min(self._unwell_since, now)
        return now - self._unwell_since >= heartbeat.DEAF_AFTER_S


def is_serving(store: Store, node: str) -> bool:
    """Tell whether a worker hears from its queues; while Redis does not answer, the worker is not to blame."""
    try:
        return heartbeat.is_serving(store, node)
    except connection.UNAVAILABLE:
        return True
