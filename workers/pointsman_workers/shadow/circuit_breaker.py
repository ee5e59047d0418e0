"""A circuit breaker for candidates: one that keeps failing, hanging or ending its process is paused for a while.

All processes share what is wrong with a version: one that hangs takes its process with it. While a version is paused,
its texts are counted as shed; after the pause, one process tries it once more (half-open).
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

State = dict[str, Any]

# So many failures without a success between them pause a version; each further failure doubles the pause.
TRIP: Final = 3
PAUSE_S: Final = 30.0
LONGEST_PAUSE_S: Final = 900.0
LOOK_S: Final = 1.0


class Troubles(Protocol):
    """Where processes share what is wrong."""

    def troubles(self) -> Mapping[str, State]:
        """Return what is wrong with which version."""
        ...

    def trouble(self, version: str, state: State | None) -> None:
        """Write down what is wrong with a version; None for nothing any more."""
        ...


class CircuitBreaker:
    """Decides which versions may be tried."""

    def __init__(self, shared: Troubles, *, clock: Callable[[], float] = time.time) -> None:
        self._shared = shared
        self._clock = clock
        self._looked = float("-inf")
        self._states: dict[str, State] = {}

    def refusal(self, version: str) -> str | None:
        """Return the reason for not trying a version now, as `paused_too_slow`; None if it may be tried.

        The process that tries a version after its pause tries it for all: for the others it stays paused until the
        outcome is known.
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
        """Count a failure, or as many as `weight` says; `TRIP` pauses the version at once."""
        self._look()
        before = self._states.get(version, {"failures": 0})["failures"]
        # After a pause, one failure is enough for the next one.
        failures = before + 1 if before >= TRIP else min(before + weight, TRIP)
        now = self._clock()
        until = now + _pause(failures) if failures >= TRIP else 0.0
        self._write(version, {"failures": failures, "reason": reason, "until": until, "at": now})

    def succeeded(self, version: str) -> None:
        """Forget what was wrong with a version."""
        if self._states.pop(version, None) is not None:
            self._shared.trouble(version, None)

    def _look(self) -> None:
        if self._clock() - self._looked >= LOOK_S:
            self._states = dict(self._shared.troubles())
            self._looked = self._clock()

    def _write(self, version: str, state: State) -> None:
        self._states[version] = state
        self._shared.trouble(version, state)


def _pause(failures: int) -> float:
    return min(PAUSE_S * 2.0 ** min(failures - TRIP, 10), LONGEST_PAUSE_S)
