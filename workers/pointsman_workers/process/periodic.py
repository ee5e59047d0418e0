"""The one kind of background thread: it repeats a step, survives every exception, and reports it."""

import logging
import threading
from collections.abc import Callable

from pointsman_shared import errors

logger = logging.getLogger(__name__)


class Periodic:
    """A daemon thread that repeats a step, which may return the seconds until the next one.

    `what` names the step in the log, as "looking for lost messages".
    """

    def __init__(
        self, what: str, step: Callable[[], float | None], interval_s: float, *, at_once: bool = False
    ) -> None:
        self._what = what
        self._step = step
        self._interval_s = interval_s
        self._first_s = 0.0 if at_once else interval_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"pointsman: {what.partition(' ')[2]}", daemon=True
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current step."""
        self._stopped.set()
        # A worker that ends before it is ready has not started its threads.
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5)

    def wait(self, seconds: float) -> bool:
        """Sleep, but not longer than until `stop`; return whether it was called."""
        return self._stopped.wait(seconds)

    def _run(self) -> None:
        pause = self._first_s
        while not self._stopped.wait(pause):
            pause = self._once()

    def _once(self) -> float:
        try:
            pause = self._step()
        except errors.RetryableError as error:
            logger.warning("%s is not possible now: %s", self._what, error)
        except Exception as error:
            logger.exception("%s failed: %s", self._what, type(error).__name__)
        else:
            return self._interval_s if pause is None else pause
        return self._interval_s
