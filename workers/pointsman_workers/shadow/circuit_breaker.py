"""A circuit breaker for candidates: one that keeps failing, hanging or ending its process is left alone for a while.

What is wrong with a version is known to all processes: one that hangs takes its process with it. While a version is
left alone its texts are counted as shed; after a pause one process tries it once more (half-open).
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

State = dict[str, Any]

# So many failures without a success between them, and the pause after them; it doubles with each further one.
TRIP: Final = 3
PAUSE_S: Final = 30.0
LONGEST_PAUSE_S: Final = 900.0
LOOK_S: Final = 1.0


class Book(Protocol):
    """Where processes tell each other."""

    def troubles(self) -> Mapping[str, State]:
        """Give by version what is wrong with it."""
        ...

    def trouble(self, version: str, state: State | None) -> None:
        """Write it down, or that nothing is any more."""
        ...


class Breaker:
    """Says which versions may be tried.

    Args:
        book: Where processes tell each other.
        clock: Gives the seconds since the epoch: all processes must mean the same.
    """

    def __init__(self, book: Book, *, clock: Callable[[], float] = time.time) -> None:
        self._book = book
        self._clock = clock
        self._looked = float("-inf")
        self._states: dict[str, State] = {}

    def refusal(self, version: str) -> str | None:
        """Give the reason for which a version is not to be tried now, as `paused_too_slow`; None if it may be.

        Whoever may try a version whose pause is over tries it for all: for them it is paused anew until it is told
        how that went.
        """
        self._look()
        state = self._states.get(version)
        if state is None or state["failures"] < TRIP:
            return None
        now = self._clock()
        if now < state["until"]:
            return f"paused_{state['reason']}"
        self._write(version, {**state, "until": now + _pause(state["failures"])})
        return None

    def failed(self, version: str, reason: str, weight: int = 1) -> None:
        """Count a failure.

        Args:
            version: Whose.
            reason: What kind, in a word.
            weight: How many failures it stands for; `TRIP` pauses it at once.
        """
        self._look()
        before = self._states.get(version, {"failures": 0})["failures"]
        # After a pause one failure is enough for the next one.
        failures = before + 1 if before >= TRIP else min(before + weight, TRIP)
        now = self._clock()
        until = now + _pause(failures) if failures >= TRIP else 0.0
        self._write(version, {"failures": failures, "reason": reason, "until": until, "at": now})

    def succeeded(self, version: str) -> None:
        """Forget what was wrong with a version."""
        if self._states.pop(version, None) is not None:
            self._book.trouble(version, None)

    def _look(self) -> None:
        if self._clock() - self._looked >= LOOK_S:
            self._states = dict(self._book.troubles())
            self._looked = self._clock()

    def _write(self, version: str, state: State) -> None:
        self._states[version] = state
        self._book.trouble(version, state)


def _pause(failures: int) -> float:
    return min(PAUSE_S * 2.0 ** min(failures - TRIP, 10), LONGEST_PAUSE_S)
