"""Signals to a command that has programs to stop: the first one stops them cleanly, the next one kills them."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """While it is open, the first signal raises `KeyboardInterrupt` in the main thread, every later one calls `kill`."""

    def __init__(self, kill: Callable[[], None]) -> None:
        self.count = 0
        self._kill = kill
        self._ending = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def ending(self) -> None:
        """Note that the clean stop runs: a signal no longer interrupts it, but shortens it."""
        self._ending = True

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.count == 1 and not self._ending:
            self._ending = True
            raise KeyboardInterrupt
        # In a thread of its own, because a signal handler must not take locks that the interrupted code holds.
        threading.Thread(target=self._kill, name="kill").start()
