"""Ending in time: a worker that is asked to end while Redis is silent would wait for it for ever.

Celery returns the messages it holds before it ends, and waits for Redis to answer. This ends the worker all the same:
Redis restores those messages, or the reconciler publishes them again.
"""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

# Finishing the running tasks takes up to `worker_soft_shutdown_timeout`, ending the children a second or two.
PATIENCE_S: Final = 8.0


def leave_in_time(end: Callable[[], None], patience_s: float = PATIENCE_S) -> None:
    """End this process some time after it was asked to end, if it is still there.

    Call it in the main thread, after Celery has set its signal handlers. Without `REMAP_SIGTERM=SIGQUIT`, SIGTERM asks
    a worker to finish its running tasks, however long they take, so it gets no time limit.
    """
    remapped = os.environ.get("REMAP_SIGTERM") == "SIGQUIT"
    for number in (signal.SIGTERM, signal.SIGQUIT) if remapped else (signal.SIGQUIT,):
        handler = signal.getsignal(number)
        if callable(handler):
            signal.signal(number, _timed(handler, end, patience_s))


def _timed(
    handler: Callable[[int, FrameType | None], Any], end: Callable[[], None], patience_s: float
) -> Callable[[int, FrameType | None], None]:
    # The children inherit the handler, and set their own.
    own = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() == own:
            timer = threading.Timer(patience_s, end)
            timer.daemon = True
            timer.start()
        handler(number, frame)

    return handle
