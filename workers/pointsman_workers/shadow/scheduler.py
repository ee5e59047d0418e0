"""Calling for shadow work when a worker has time for it: the thread that keeps it out of users' way.

Shadow work is done by a worker's own processes, as a task like any other, but only when called for; and it is called
for here, in the worker's parent, which knows what its processes have in hand. Nothing has to be put back when users
come: a call that comes at a bad moment does nothing, and another one follows.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pointsman_shared import errors
from pointsman_workers.shadow.backlog import Look

logger = logging.getLogger(__name__)

IDLE_S = 0.5
BUSY_S = 0.05
# Between two short parts while bulk work comes in, and none of it waits.
BETWEEN_S = 0.02
# Where users have not left the worker alone for that long, though none of them waits, one short part is done.
PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What a worker has in hand.

    Attributes:
        serving: How many served messages it holds.
        served: How many it has begun in its life.
        asked: How many it has taken in its life that somebody waits for.
        shadowing: How many calls to do shadow work it holds.
    """

    serving: int
    served: int
    asked: int
    shadowing: int


class Queue(Protocol):
    """What there is to do."""

    def look(self) -> Look:
        """Say how things stand, or raise a RetryableError."""
        ...


class Caller:
    """A daemon thread of a worker's parent.

    Args:
        queue: What there is to do.
        call: Sends a call to do shadow work; told whether one part is to be enough.
        activity: Says what the worker has in hand.
        yields: Whether users need this worker, too.
        most: How many of its processes may do shadow work at once.
        clock: Gives the seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        queue: Queue,
        call: Callable[[bool], object],
        activity: Callable[[], Activity],
        *,
        yields: bool,
        most: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._call = call
        self._activity = activity
        self._yields = yields
        self._most = most
        self._clock = clock
        self._served = 0
        self._asked = 0
        # When it was last left alone, or did a part all the same.
        self._alone_at = clock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pointsman-shadow", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the step under way."""
        self._stopped.set()
        self._thread.join(timeout=5)

    def step(self) -> float:
        """Call for shadow work if there is some and time for it; give the seconds until it is worth looking again."""
        activity = self._activity()
        left_alone = not self._yields or (activity.serving == 0 and activity.served == self._served)
        in_no_hurry = activity.asked == self._asked
        self._served, self._asked = activity.served, activity.asked
        if left_alone:
            self._alone_at = self._clock()
        if activity.shadowing >= self._most:
            return BUSY_S
        look = self._queue.look()
        if not look.ready:
            return IDLE_S
        if not look.calls and self._has_time(look, left_alone=left_alone, in_no_hurry=in_no_hurry):
            self._call(not left_alone)
            self._alone_at = self._clock()
            return BUSY_S if left_alone else BETWEEN_S
        return BUSY_S

    def _has_time(self, look: Look, *, left_alone: bool, in_no_hurry: bool) -> bool:
        if not self._yields:
            return True
        if look.users:
            return False
        patience_ends = self._clock() - self._alone_at >= PATIENCE_S
        # Bulk work that nothing of waits in a queue leaves time, and a short part delays it by nothing that counts.
        return left_alone or patience_ends or (in_no_hurry and look.users is not None)

    def _run(self) -> None:
        pause = IDLE_S
        while not self._stopped.wait(pause):
            try:
                pause = self.step()
            except errors.RetryableError:
                pause = IDLE_S
            except Exception as error:  # the client behind the broker's URL may raise anything
                logger.warning("shadow work could not be called for: %s", type(error).__name__)
                pause = IDLE_S
