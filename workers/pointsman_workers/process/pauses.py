"""Noticing that a process stood still: it was stopped, its machine slept, or its virtual machine was paused.

A time limit that passed meanwhile says nothing about the job. A thread notes the time every second; where the notes have a
gap in which the process used no processor either, it stood still. (A job that keeps the interpreter busy leaves such a gap
too, but uses the processor.)
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

TICK_S: Final = 1.0
LEAST_S: Final = 3.0
_STOPPED: Final = frozenset("Tt")


class Pauses:
    """The pauses of this process."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        processor: Callable[[], float] = time.process_time,
    ) -> None:
        self._clock = clock
        self._processor = processor
        self._ticked = (clock(), processor())
        self._ended_at = float("-inf")

    def tick(self) -> None:
        """Note the time; call this every `TICK_S`."""
        now, used = self._clock(), self._processor()
        at, before = self._ticked
        if now - at > LEAST_S and used - before < (now - at) / 2:
            self._ended_at = now
        self._ticked = (now, used)

    def since(self, started: float) -> bool:
        """Return whether the process stood still at some time since then, by its monotonic clock."""
        self.tick()
        return self._ended_at > started


def is_stopped(pid: int) -> bool:
    """Return whether another process stands still now, where the system tells."""
    with contextlib.suppress(OSError, IndexError):
        # The state stands behind the name, which is in brackets and may hold anything.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in _STOPPED
    return False
