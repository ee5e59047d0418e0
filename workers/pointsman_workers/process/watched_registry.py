"""The registry as serving reads it: which versions have a role is read again only where something changed.

Whoever changes a tier's aliases counts that in Redis, and each process reads the registry when it sees another count. One
process of the deployment looks into the registry from time to time, for changes that Redis was not told of.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Final

from pointsman_models.inference.classifier import Classifier
from pointsman_models.registry.aliases import Aliases
from pointsman_models.registry.versions import Registry
from pointsman_shared.store.connection import UNAVAILABLE, Store

# How long an answer of Redis counts, and how often one process reads the registry although no change is known.
FRESH_S: Final = 1.0
LOOK_S: Final = 10


def tell(store: Store, tier: str) -> None:
    """Tell all processes that a tier's aliases changed; without Redis, they find it out by their next look."""
    with contextlib.suppress(*UNAVAILABLE):
        store.hincrby(store.keys.alias_changes, tier, 1)


class WatchedRegistry:
    """The aliases and the classifiers of one process. Safe to share between threads."""

    def __init__(
        self,
        registry: Registry,
        store: Callable[[], Store],
        *,
        fresh_s: float = FRESH_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._store = store
        self._fresh_s = fresh_s
        self._clock = clock
        self._known: dict[str, tuple[bytes | None, Aliases]] = {}
        self._asked_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def aliases(self, tier: str) -> Aliases:
        """Return which versions of a tier are champion and candidate; raise what keeps the registry from being read."""
        with self._lock:
            known = self._known.get(tier)
            if known is not None and self._clock() - self._asked_at[tier] < self._fresh_s:
                return known[1]
            try:
                count, is_due = self._ask(tier)
            except UNAVAILABLE:
                if known is not None:
                    return known[1]
                count, is_due = None, False
            if known is None or is_due or count != known[0]:
                # If the registry cannot be read, the next call tries again.
                self._known.pop(tier, None)
                found = self._registry.aliases(tier)
                if known is not None and is_due and count == known[0] and found != known[1]:
                    tell(self._store(), tier)
                known = self._known[tier] = (count, found)
            self._asked_at[tier] = self._clock()
            return known[1]

    def champion(self, tier: str) -> int | None:
        """Return the version that should serve, if any."""
        return self.aliases(tier).champion

    def load_classifier(self, tier: str, version: int) -> Classifier:
        """Load a version; see `Registry.load_classifier`."""
        return self._registry.load_classifier(tier, version)

    def _ask(self, tier: str) -> tuple[bytes | None, bool]:
        """Return how many changes of the tier Redis was told of, and whether this process is to look by itself."""
        store = self._store()
        pipeline = store.pipeline(transaction=False)
        pipeline.hget(store.keys.alias_changes, tier)
        pipeline.set(store.keys.alias_look(tier), "1", nx=True, ex=LOOK_S)
        count, is_due = pipeline.execute()
        return count, bool(is_due)
