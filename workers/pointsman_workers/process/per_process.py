"""A value that each process builds for itself: connections and threads do not cross a fork."""

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """Returns the same value at each call in a process, and builds it at the first one."""

    def __init__(self, build: Callable[[], T]) -> None:
        self._build = build
        self._lock = threading.RLock()
        self._built: tuple[int, T] | None = None

    def __call__(self) -> T:
        """Return this process's value."""
        built = self._built
        if built is not None and built[0] == os.getpid():
            return built[1]
        with self._lock:
            if self._built is None or self._built[0] != os.getpid():
                self._built = (os.getpid(), self._build())
            return self._built[1]

    @property
    def is_built(self) -> bool:
        """Whether this process has a value to close."""
        return self._built is not None and self._built[0] == os.getpid()
