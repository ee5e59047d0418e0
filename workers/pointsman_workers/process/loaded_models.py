"""The classifiers that a process holds: the champion of each tier, and the other versions that shadow work asks for.

A new champion is loaded and warmed up beside the old one; then a reference changes between two messages. If the new one
cannot be loaded, the old one goes on serving and `doctor` shows the problem.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Final, Protocol

from pointsman_models.inference.classifier import Classifier
from pointsman_shared import errors, names

logger = logging.getLogger(__name__)

# A version that could not be loaded is tried again after this long: the registry may have been away.
RETRY_S: Final = 30.0
# How many versions a process holds beside the champions.
OTHERS: Final = 4
WARM_UP_TEXTS: Final = ("hello", "what are your opening hours?", "can i pay by card", "ok bye", "thx", "")


class Registry(Protocol):
    """The place of the versions."""

    def champion(self, tier: str) -> int | None:
        """Return the number of the version that should serve; called every second."""
        ...

    def load_classifier(self, tier: str, version: int) -> Classifier:
        """Load a version, or raise a RegistryError."""
        ...


class LoadedModels:
    """The classifiers of one process.

    Of `inherited`, which the parent process loaded before the fork, it uses the classifiers only: a registry may hold
    connections, which do not cross a fork.
    """

    def __init__(
        self,
        registry: Registry,
        tiers: Collection[str],
        *,
        inherited: "LoadedModels | None" = None,
        on_refused: Callable[[str, int, str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._tiers = tiers
        self._serving: dict[str, Classifier] = dict(inherited._serving) if inherited else {}
        self._others: OrderedDict[tuple[str, int], Classifier] = OrderedDict()
        self._refused: dict[tuple[str, int], tuple[float, str]] = {}
        # Tiers that the registry forgot while they served: what it names next may be another model of the same number.
        self._forgotten: set[str] = set()
        self._on_refused = on_refused
        self._clock = clock
        self._problems: dict[str, str] = {}
        self._problems_of_others: dict[str, tuple[float, str]] = {}

    @property
    def tiers(self) -> tuple[str, ...]:
        """The tiers to serve; they follow the declaration."""
        return tuple(self._tiers)

    def classifier(self, tier: str) -> Classifier:
        """Return the version of a tier that serves now, or raise a TierUnavailableError."""
        try:
            return self._serving[tier]
        except KeyError:
            why = self._problems.get(tier, "no version of it serves yet; it has to be trained")
            msg = f"tier {tier!r} cannot be served: {why}"
            raise errors.TierUnavailableError(msg) from None

    def version(self, tier: str, version: int) -> Classifier:
        """Return any version, or raise what keeps it from being loaded. For one thread."""
        serving = self._serving.get(tier)
        if serving is not None and serving.version == version:
            return serving
        key, name = (tier, version), names.version_name(tier, version)
        if key not in self._others:
            try:
                self._others[key] = self._load(tier, version)
            except Exception as error:
                self._problems_of_others[name] = (self._clock(), f"it cannot be loaded: {error}")
                raise
            self._problems_of_others.pop(name, None)
        self._others.move_to_end(key)
        while len(self._others) > OTHERS:
            self._others.popitem(last=False)
        return self._others[key]

    def refresh(self) -> None:
        """Load champions that do not serve yet. Never raises: the serving version goes on."""
        for tier in list(self._tiers):
            try:
                self._refresh(tier)
            except Exception as error:  # a broken version may raise anything; the old one goes on serving
                self._complain(tier, _text(error))

    def versions(self) -> Mapping[str, int]:
        """Return the serving version of each tier."""
        return {tier: classifier.version for tier, classifier in self._serving.items()}

    def problems(self) -> list[str]:
        """Return which versions could not be loaded, and why."""
        serving = [f"tier {tier}: {why}" for tier, why in list(self._problems.items())]
        # A version that was asked for once, as by a typing error, is no problem later.
        others = [
            f"shadow candidate {name}: {why}"
            for name, (at, why) in list(self._problems_of_others.items())
            if self._clock() - at < 2 * RETRY_S
        ]
        return [*serving, *others]

    def _refresh(self, tier: str) -> None:
        champion = self._registry.champion(tier)
        serving = self._serving.get(tier)
        if champion is None and serving is not None:
            self._forgotten.add(tier)
            msg = f"the registry has no version of it any more: is it in its place? Version {serving.version} serves on"
            raise errors.RegistryError(msg)
        serves = serving is not None and serving.version == champion and tier not in self._forgotten
        if champion is None or serves:
            self._problems.pop(tier, None)
            return
        was_refused = (tier, champion) in self._refused
        try:
            self._serving[tier] = self._load(tier, champion)
        except errors.RegistryError as error:
            if not was_refused and self._on_refused is not None:
                self._on_refused(tier, champion, str(error))
            raise
        self._problems.pop(tier, None)
        self._forgotten.discard(tier)
        logger.info("tier %s serves version %d", tier, champion)

    def _load(self, tier: str, version: int) -> Classifier:
        at, why = self._refused.get((tier, version), (float("-inf"), ""))
        if self._clock() - at < RETRY_S:
            raise errors.RegistryError(why)
        try:
            classifier = self._registry.load_classifier(tier, version)
            classifier.classify(WARM_UP_TEXTS)
        except Exception as error:
            self._refused[tier, version] = (self._clock(), _text(error))
            raise
        self._refused.pop((tier, version), None)
        return classifier

    def _complain(self, tier: str, problem: str) -> None:
        if self._problems.get(tier) != problem:
            logger.error("tier %s: %s", tier, problem)
        self._problems[tier] = problem


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, errors.PointsmanError) else f"{type(error).__name__}: {error}"
