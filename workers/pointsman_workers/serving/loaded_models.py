"""The classifiers that a process holds, and how a new version takes the place of an old one.

A version is loaded and warmed up beside the one that serves, then a reference changes between two messages. If it
cannot be loaded, the old one goes on serving and the problem is remembered for `doctor`.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from pointsman_models.inference.classifier import Classifier
from pointsman_shared import errors

logger = logging.getLogger(__name__)

# A version that could not be loaded is tried again after this long: the store may have been away.
RETRY_S = 30.0
WARM_UP_TEXTS = ("hello", "what are your opening hours?", "can i pay by card", "ok bye", "thx", "")


class Registry(Protocol):
    """Where versions are kept."""

    def champion(self, tier: str) -> int | None:
        """Give the number of the version that should serve. Cheap: it is asked every second."""
        ...

    def load_classifier(self, tier: str, version: int) -> Classifier:
        """Load a version, or raise a RegistryError."""
        ...


class Residents:
    """One classifier per tier.

    Args:
        registry: Where versions come from.
        tiers: The tiers to hold.
        inherited: What the parent process had loaded before the fork. Only its classifiers are taken over: a
            registry may hold connections, which do not cross a fork.
        on_refused: Called once with the tier, the version and why, if a version cannot be loaded.
        clock: Gives the seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        registry: Registry,
        tiers: Iterable[str],
        *,
        inherited: "Residents | None" = None,
        on_refused: Callable[[str, int, str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._tiers = tuple(tiers)
        self._serving: dict[str, Classifier] = dict(inherited._serving) if inherited else {}
        self._refused: dict[str, tuple[int, float]] = {}
        self._on_refused = on_refused
        self._clock = clock
        self._problems: dict[str, str] = {}

    def classifier(self, tier: str) -> Classifier:
        """Give the version of a tier that serves now.

        Raises:
            TierUnavailableError: There is none.
        """
        try:
            return self._serving[tier]
        except KeyError:
            why = self._problems.get(
                tier, f"no version of it serves yet; train it with: pointsman train {tier}"
            )
            msg = f"tier {tier!r} cannot be served: {why}"
            raise errors.TierUnavailableError(msg) from None

    def refresh(self) -> None:
        """Take over champions that are not being served yet. Never raises: what serves goes on serving."""
        for tier in self._tiers:
            try:
                self._refresh(tier)
            except errors.PointsmanError as error:
                self._complain(tier, str(error))
            except Exception as error:  # a broken version may break in any way; the old one serves on
                self._complain(tier, f"{type(error).__name__}: {error}")

    def versions(self) -> Mapping[str, int]:
        """Say which version of each tier serves."""
        return {tier: classifier.version for tier, classifier in self._serving.items()}

    def problems(self) -> list[str]:
        """Say what could not be taken over, and why."""
        return [f"tier {tier}: {problem}" for tier, problem in self._problems.items()]

    def _refresh(self, tier: str) -> None:
        champion = self._registry.champion(tier)
        serving = self._serving.get(tier)
        if champion is None or (serving is not None and serving.version == champion):
            self._problems.pop(tier, None)
            return
        refused, since = self._refused.get(tier, (None, 0.0))
        if refused == champion and self._clock() - since < RETRY_S:
            return
        self._refused[tier] = (champion, self._clock())
        try:
            classifier = self._registry.load_classifier(tier, champion)
            classifier.classify(WARM_UP_TEXTS)
        except errors.RegistryError as error:
            if refused != champion and self._on_refused is not None:
                self._on_refused(tier, champion, str(error))
            raise
        self._serving[tier] = classifier
        self._refused.pop(tier)
        self._problems.pop(tier, None)
        logger.info("tier %s serves version %d", tier, champion)

    def _complain(self, tier: str, problem: str) -> None:
        if self._problems.get(tier) != problem:
            logger.error("tier %s: %s", tier, problem)
        self._problems[tier] = problem
