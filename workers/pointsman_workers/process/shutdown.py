"""Ending in time: a worker that was told to end, and cannot because Redis is silent, is ended.

Celery gives back what it holds before it ends, and waits for Redis to answer. Nobody waits that long for a process:
what it holds is given back by Redis, or published again.
"""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

# Finishing what was begun takes up to `worker_soft_shutdown_timeout`, ending the children a second or two.
PATIENCE_S: Final = 8.0


def leave_in_time(end: Callable[[], None], patience_s: float = PATIENCE_S) -> None:
    """Have this process ended if it is still there some time after it was told to.

    To be called in the main thread, when Celery's signal handlers are there. Without `REMAP_SIGTERM=SIGQUIT`, SIGTERM
    asks a worker to finish all it has begun, however long that takes, so it is left alone.

    Args:
        end: Ends this process without ado.
        patience_s: How long it has.
    """
    remapped = os.environ.get("REMAP_SIGTERM") == "SIGQUIT"
    for number in (signal.SIGTERM, signal.SIGQUIT) if remapped else (signal.SIGQUIT,):
        handler = signal.getsignal(number)
        if callable(handler):
            signal.signal(number, _timed(handler, end, patience_s))


def _timed(
    handler: Callable[[int, FrameType | None], Any], end: Callable[[], None], patience_s: float
) -> Callable[[int, FrameType | None], None]:
    # Its children inherit the handler, and have one of their own.
    own = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() == own:
            timer = threading.Timer(patience_s, end)
            timer.daemon = True
            timer.start()
        handler(number, frame)

    return handle
