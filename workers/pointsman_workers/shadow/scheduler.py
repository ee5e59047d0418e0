"""Requesting shadow work when a worker has time for it, so that it does not delay users.

A worker's own processes do shadow work, as a task like any other, but only on request; and the worker's parent, which
knows what its processes hold, makes the requests here. A request that comes at a bad moment does nothing, and another
one follows, so nothing has to be returned when users come.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from pointsman_shared import errors
from pointsman_workers.shadow.backlog import Look

IDLE_S: Final = 0.5
BUSY_S: Final = 0.05
# The pause between two short parts while bulk work comes in and none of it waits.
BETWEEN_S: Final = 0.02
# A worker that is never idle for this long does one short part all the same, if no user waits.
PATIENCE_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What a worker holds."""

    serving: int
    served: int
    interactive: int
    shadowing: int


class Queue(Protocol):
    """The backlog, as far as the scheduler is concerned."""

    def look(self) -> Look:
        """Return the state of the backlog, or raise a RetryableError."""
        ...


class Scheduler:
    """Requests shadow work, in a worker's parent."""

    def __init__(
        self,
        queue: Queue,
        request: Callable[[bool], object],
        activity: Callable[[], Activity],
        *,
        yields: bool,
        most: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._request = request
        self._activity = activity
        self._yields = yields
        self._most = most
        self._clock = clock
        self._served = 0
        self._interactive = 0
        # When the worker was last idle, or did a part all the same.
        self._idle_at = clock()

    def step(self) -> float:
        """Request shadow work if there is some and time for it; return the seconds until the next step."""
        activity = self._activity()
        idle = not self._yields or (activity.serving == 0 and activity.served == self._served)
        only_bulk = activity.interactive == self._interactive
        self._served, self._interactive = activity.served, activity.interactive
        if idle:
            self._idle_at = self._clock()
        if activity.shadowing >= self._most:
            return BUSY_S
        try:
            look = self._queue.look()
        except errors.RetryableError:
            return IDLE_S
        if not look.ready:
            return IDLE_S
        if not look.calls and self._has_time(look, idle=idle, only_bulk=only_bulk):
            self._request(not idle)
            self._idle_at = self._clock()
            return BUSY_S if idle else BETWEEN_S
        return BUSY_S

    def _has_time(self, look: Look, *, idle: bool, only_bulk: bool) -> bool:
        if not self._yields:
            return True
        if look.users:
            return False
        # Bulk work of which nothing waits leaves time, and a short part does not delay it noticeably.
        return idle or only_bulk or self._clock() - self._idle_at >= PATIENCE_S
