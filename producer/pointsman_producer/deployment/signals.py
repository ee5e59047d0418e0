"""Signals to a command that has programs to stop: the first one stops them cleanly, the next one kills them."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle the signals that end a command; afterwards they do what they did before."""
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextlib.contextmanager
def stopping(stop: Callable[[], None], kill: Callable[[], None]) -> Iterator[Sequence[int]]:
    """Call `stop` at the end; the first signal before it raises `KeyboardInterrupt`, every later one calls `kill`.

    Yields the signals that came.
    """
    came: list[int] = []
    is_ending = False

    def on_signal(number: int, _frame: FrameType | None) -> None:
        nonlocal is_ending
        came.append(number)
        if not is_ending:
            is_ending = True
            raise KeyboardInterrupt
        # In a thread of its own, because a signal handler must not take locks that the interrupted code holds.
        threading.Thread(target=kill, name="kill").start()

    with handled(on_signal):
        try:
            yield came
        finally:
            is_ending = True
            stop()
