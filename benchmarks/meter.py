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
        before, started = self._cpu_s(), time.perf_counter()
        action()
        return time.perf_counter() - started, self._cpu_s() - before

    def _cpu_s(self) -> float:
        return cpu_s(self._processes)


class Roles:
    """Measures what an action takes of this process, a worker's parent, its children and Redis; the latter by their ids."""

    def __init__(self, redis: int, worker: int) -> None:
        parent = psutil.Process(worker)
        self._processes = {
            "client": [psutil.Process()],
            "parent": [parent],
            "children": parent.children(),
            "Redis": [psutil.Process(redis)],
        }
        self.names = list(self._processes)

    def timed(self, action: Callable[[], object]) -> tuple[float, dict[str, float]]:
        """Give the seconds an action took, and the processor seconds that each role spent meanwhile."""
        before, started = self._cpu_s(), time.perf_counter()
        action()
        took_s = time.perf_counter() - started
        return took_s, {role: cpu_s - before[role] for role, cpu_s in self._cpu_s().items()}

    def _cpu_s(self) -> dict[str, float]:
        return {role: cpu_s(processes) for role, processes in self._processes.items()}


def cpu_s(processes: Sequence[psutil.Process]) -> float:
    """Give the processor seconds that processes have spent so far."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def serving(ours: Deployment) -> list[psutil.Process]:
    """Give the processes that serve: Redis, the worker's parent and its children."""
    pids = ours.pids()
    parent = psutil.Process(pids["serving"])
    return [psutil.Process(pids["redis"]), parent, *parent.children()]
