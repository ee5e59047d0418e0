"""The heartbeat of a worker in Redis. The launcher, Compose and the worker itself judge it alike."""

import time
from typing import Final

from pointsman_shared.store import scripts
from pointsman_shared.store.connection import Store

# A queue answers every second, even when it is empty.
DEAF_AFTER_S: Final = 15.0
# A heartbeat that is older belongs to a process that has stopped.
TTL_S: Final = 20.0

BEAT: Final = scripts.load(__file__, "beat")


def beat(store: Store, node: str, heard_at: float) -> None:
    """Write down when a worker last heard from its queues."""
    BEAT(store, pulse=store.keys.pulse(node), heard_at=heard_at, ttl_ms=int(TTL_S * 1000))


def is_serving(store: Store, node: str, now: float | None = None) -> bool:
    """Return whether a worker heard from its queues lately."""
    heard_at = store.get(store.keys.pulse(node))
    now = time.time() if now is None else now
    return heard_at is not None and now - float(heard_at) < 2 * DEAF_AFTER_S
