"""How full a deployment is, and whether there is room for more work.

Producers look before they submit: they are slowed down first, and then refused with a clear error.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pointsman_shared import errors
from pointsman_shared.settings import Settings
from pointsman_shared.store import scripts
from pointsman_shared.store.connection import Store

# A queue whose next message has waited longer takes no more bulk work.
MAX_AGE_S: Final = 3_600
# Where Redis has a `maxmemory`: above this share of it, nothing more is submitted.
MAX_FILL: Final = 0.85
# How long a producer waits for room before it gives up.
PATIENCE_S: Final = 30.0
# How long one look at a queue counts; it costs two round trips.
LOOK_S: Final = 0.5
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 1.0

LOOK: Final = scripts.load(__file__, "look", scripts.IDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How full a queue and its Redis are, as shares of what is allowed; above 1 is too much."""

    length: float
    age: float
    memory: float

    @property
    def worst(self) -> float:
        """The share that leaves the least room."""
        return max(self.length, self.age, self.memory)

    def __str__(self) -> str:
        shares = {"length": self.length, "age": self.age, "memory of Redis": self.memory}
        return ", ".join(f"{name} at {share:.0%} of its limit" for name, share in shares.items() if share > 1)


class Pressure:
    """Watches the queues of a deployment. Safe to share between threads."""

    def __init__(self, store: Store, settings: Settings, *, patience_s: float = PATIENCE_S) -> None:
        self._store = store
        self._settings = settings
        self._patience_s = patience_s
        self._looks: dict[str, tuple[float, Load]] = {}
        self._lock = threading.Lock()

    def load(self, queue: str) -> Load:
        """Return how full a queue is; a look half a second ago is good enough."""
        with self._lock:
            seen = self._looks.get(queue)
            if seen is None or time.monotonic() - seen[0] > LOOK_S:
                seen = (time.monotonic(), self._look(queue))
                self._looks[queue] = seen
            return seen[1]

    def wait_for_room(
        self,
        queue: str,
        *,
        is_wanted: Callable[[], bool] = lambda: True,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Return when a queue takes more work; raise QueueFullError if it does not for long, or is not wanted to any more.

        If Redis does not answer, this returns too: submitting has a patience of its own.
        """
        pause, waited = FIRST_PAUSE_S, 0.0
        while (load := self._load_if_known(queue)) is not None and load.worst > 1:
            if waited >= self._patience_s or not is_wanted():
                msg = (
                    f"queue {queue} is full ({load}) and did not empty within {waited:.0f} s: nothing was submitted; "
                    "add workers or try again later"
                )
                raise errors.QueueFullError(msg)
            sleep(pause)
            waited, pause = waited + pause, min(2 * pause, LONGEST_PAUSE_S)

    def _load_if_known(self, queue: str) -> Load | None:
        try:
            return self.load(queue)
        except errors.BrokerUnavailableError:
            return None

    def _look(self, queue: str) -> Load:
        length, age_s = look(self._store, queue)
        return Load(
            length=length / self._settings.queue_max_messages,
            age=(age_s or 0) / MAX_AGE_S,
            memory=memory_fill(self._store) / MAX_FILL,
        )


def look(store: Store, queue: str) -> tuple[int, float | None]:
    """Return the length of a queue, and for how many seconds its next message has waited, if the ledger knows it."""
    length, age_s = LOOK(store, queue=store.keys.queue(queue), entries=store.keys.open(""))
    return length, age_s


def memory_fill(store: Store) -> float:
    """Return the share of its `maxmemory` that Redis uses; 0 if it has none."""
    memory: Mapping[str, Any] = store.info("memory")
    most = memory.get("maxmemory") or 0
    return float(memory["used_memory"] / most) if most else 0.0
