"""Waiting for what has to happen, but not for ever."""

import time
from collections.abc import Callable

DEADLINE_S = 20.0


def eventually(holds: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Ask again and again until the condition holds."""
    deadline = time.monotonic() + deadline_s
    while not holds():
        if time.monotonic() > deadline:
            msg = f"not in {deadline_s} s: {what}"
            raise TimeoutError(msg)
        time.sleep(0.02)
