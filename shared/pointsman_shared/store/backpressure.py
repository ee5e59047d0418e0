"""How full a deployment is, and whether there is room for more work.

Both ends ask: a producer before it submits, so that it is slowed down and then refused with a clear error; a worker
before it sends itself work that can be left out.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from pointsman_shared import errors
from pointsman_shared.settings import Settings
from pointsman_shared.store import keys

# How long a look at a queue counts; the look costs two round trips.
LOOK_S = 0.5
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 1.0

# The age of what is served next, from the ledger: the message itself does not leave Redis.
_NEXT = """
local raw = redis.call('LINDEX', KEYS[1], -1)
local at = false
if raw then
  local id = string.match(raw, '"id"%s*:%s*"([^"]+)"', math.max(1, #raw - 4096)) or ''
  at = redis.call('HGET', ARGV[1] .. id, 'at')
end
return {redis.call('LLEN', KEYS[1]), at}
"""


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
    """Watches the queues of a deployment. Safe to share between threads.

    Args:
        redis: Where the queues are.
        settings: The limits.
    """

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._settings = settings
        self._next = redis.register_script(_NEXT)
        self._looks: dict[str, tuple[float, Load]] = {}
        self._lock = threading.Lock()

    def load(self, queue: str) -> Load:
        """Say how full a queue is; a look half a second ago is good enough.

        Raises:
            BrokerUnavailableError: Redis does not answer.
        """
        with self._lock:
            seen = self._looks.get(queue)
            if seen is None or time.monotonic() - seen[0] > LOOK_S:
                seen = (time.monotonic(), self._look(queue))
                self._looks[queue] = seen
            return seen[1]

    def has_room(self, queue: str, share: float = 1.0) -> bool:
        """Say whether a queue is filled to less than a share of what it may hold: optional work asks for half."""
        return self.load(queue).worst < share

    def wait_for_room(self, queue: str, sleep: Callable[[float], object] = time.sleep) -> None:
        """Return when a queue takes more work.

        A Redis that does not answer is left to whoever submits, and tries for longer.

        Raises:
            QueueFullError: It did not within `queue_patience_s`.
        """
        pause, waited = FIRST_PAUSE_S, 0.0
        while (load := self._load_if_known(queue)) is not None and load.worst > 1:
            if waited >= self._settings.queue_patience_s:
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
        try:
            length, at = self._next(keys=[queue], args=[keys.open("")])
            memory: Mapping[str, Any] = self._redis.info("memory")
        except RedisError as error:
            msg = f"Redis cannot be reached: {type(error).__name__}"
            raise errors.BrokerUnavailableError(msg) from error
        most = memory.get("maxmemory") or 0
        age_s = time.time() - float(at) if at else 0.0
        return Load(
            length=length / self._settings.queue_max_messages,
            age=age_s / self._settings.queue_max_age_s,
            memory=memory["used_memory"] / most / self._settings.redis_max_fill if most else 0.0,
        )
