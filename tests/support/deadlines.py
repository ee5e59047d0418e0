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


def outlast(seconds: float, what: str) -> None:
    """Let something run out that ends by time alone, so that there is nothing to ask.

    Args:
        seconds: How long it holds; some more is waited, because its clock may have started later.
        what: What runs out, for the reader.
    """
    time.sleep(1.2 * seconds)
