"""Whether a worker still serves its queues, as Redis knows it: what launcher, Compose and worker agree upon."""

import time
from typing import Any, Final

from redis import Redis

from pointsman_shared.store import keys

# A queue answers every second, be it that it is empty.
DEAF_AFTER_S: Final = 15.0
# A sign of life that was not renewed for this long says that the process itself has stopped.
PULSE_TTL_S: Final = 20.0


def is_serving(redis: Redis, node: str, now: float | None = None) -> bool:
    """Say whether a worker heard from its queues lately.

    Args:
        redis: Where signs of life are kept.
        node: The worker's name, as `serving@host`.
        now: Seconds since the epoch.

    Raises:
        RedisError: Redis does not answer.
    """
    heard_at: Any = redis.get(keys.pulse(node))
    now = time.time() if now is None else now
    return heard_at is not None and now - float(heard_at) < 2 * DEAF_AFTER_S
