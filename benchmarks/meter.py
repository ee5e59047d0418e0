"""What an action takes: seconds, and the processor's.

Other work on the machine changes how long things take, and processor time that much less.
"""

import time
from collections.abc import Callable, Sequence

import psutil

from pointsman_producer.deployment.launcher import Deployment


class Meter:
    """Measures what some processes do.

    Args:
        processes: Whose processor time counts.
    """

    def __init__(self, processes: Sequence[psutil.Process]) -> None:
        self._processes = processes

    def timed(self, action: Callable[[], object]) -> tuple[float, float]:
        """Give the seconds an action took, and the processor seconds the processes spent meanwhile."""
        before, started = self.cpu_s(), time.perf_counter()
        action()
        return time.perf_counter() - started, self.cpu_s() - before

    def cpu_s(self) -> float:
        """Give the processor seconds the processes have spent so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self._processes)


def by_role(redis: int, worker: int) -> dict[str, Meter]:
    """Return a meter for this process, a worker's parent, its children and Redis; the latter are given by their ids."""
    parent = psutil.Process(worker)
    roles = {
        "client": [psutil.Process()],
        "parent": [parent],
        "children": parent.children(),
        "Redis": [psutil.Process(redis)],
    }
    return {role: Meter(processes) for role, processes in roles.items()}


def serving(ours: Deployment) -> list[psutil.Process]:
    """Give the processes that serve: Redis, the worker's parent and its children."""
    pids = ours.pids()
    parent = psutil.Process(pids["serving"])
    return [psutil.Process(pids["redis"]), parent, *parent.children()]
