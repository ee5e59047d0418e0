"""The versions that do not serve: a tier's candidate, the other tier's champion, those that a file is compared with.

They are loaded when shadow work first asks for them. One that cannot be loaded costs users nothing.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pointsman_models.inference.classifier import Classifier
from pointsman_models.registry.aliases import Aliases
from pointsman_shared import errors, names

logger = logging.getLogger(__name__)

ALIASES_S = 1.0
# Shorter than the first pause of whoever fails: what is tried again after it is loaded again.
RETRY_S = 20.0
LOADED = 4
TIERS = (names.BASE_TIER, names.PRO_TIER)


class Registry(Protocol):
    """Where versions are kept."""

    def aliases(self, tier: str) -> Aliases:
        """Give the versions that have a part to play."""
        ...

    def load_classifier(self, tier: str, version: int) -> Classifier:
        """Load a version, or raise a RegistryError."""
        ...


class Residents(Protocol):
    """The versions that serve."""

    def classifier(self, tier: str) -> Classifier:
        """Give the version of a tier that serves."""
        ...


@dataclass(frozen=True, slots=True)
class Rival:
    """A version to compare with what served.

    Attributes:
        kind: `tier` for the other tier's champion, `candidate` for the served tier's candidate.
    """

    kind: str
    tier: str
    version: int

    @property
    def name(self) -> str:
        """As `pro@8`."""
        return names.version_name(self.tier, self.version)


class CandidateNotLoadedError(errors.PointsmanError):
    """A version cannot be loaded here."""


class Candidates:
    """Finds and holds versions that do not serve. For the thread that does the messages."""

    def __init__(
        self, registry: Registry, residents: Residents, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._registry = registry
        self._residents = residents
        self._clock = clock
        self._aliases: dict[str, tuple[float, int | None]] = {}
        self._loaded: OrderedDict[tuple[str, int], Classifier] = OrderedDict()
        self._refused: dict[tuple[str, int], float] = {}
        self._problems: dict[tuple[str, int], str] = {}

    def rivals(self, tier: str, version: int) -> list[Rival]:
        """Name the versions that what a version served is to be compared with."""
        found = [
            Rival("tier", other, champion.version)
            for other in TIERS
            if other != tier and (champion := self._serving(other)) is not None
        ]
        candidate = self._candidate(tier)
        if candidate is not None and candidate != version:
            found.append(Rival("candidate", tier, candidate))
        return found

    def classifier(self, tier: str, version: int) -> Classifier:
        """Give a version.

        Raises:
            CandidateNotLoadedError: It cannot be loaded; it is tried again some time later.
        """
        serving = self._serving(tier)
        if serving is not None and serving.version == version:
            return serving
        key = (tier, version)
        if key not in self._loaded:
            self._load(key)
        self._loaded.move_to_end(key)
        return self._loaded[key]

    def problems(self) -> list[str]:
        """Say which versions could not be loaded."""
        return [
            f"shadow candidate {names.version_name(*key)}: {problem}"
            for key, problem in list(self._problems.items())
        ]

    def _load(self, key: tuple[str, int]) -> None:
        if self._clock() - self._refused.get(key, -RETRY_S) < RETRY_S:
            raise CandidateNotLoadedError(self._problems.get(key, "it was refused a moment ago"))
        try:
            classifier = self._registry.load_classifier(*key)
        except Exception as error:
            self._refused[key] = self._clock()
            self._problems[key] = f"it cannot be loaded: {error}"
            logger.warning("shadow candidate %s cannot be loaded: %s", names.version_name(*key), error)
            raise CandidateNotLoadedError(str(error)) from error
        self._problems.pop(key, None)
        self._loaded[key] = classifier
        while len(self._loaded) > LOADED:
            self._loaded.popitem(last=False)

    def _serving(self, tier: str) -> Classifier | None:
        try:
            return self._residents.classifier(tier)
        except errors.TierUnavailableError:
            return None

    def _candidate(self, tier: str) -> int | None:
        looked, candidate = self._aliases.get(tier, (-ALIASES_S, None))
        if self._clock() - looked >= ALIASES_S:
            try:
                candidate = self._registry.aliases(tier).candidate
            except Exception as error:  # a registry may be away in any way; the last answer stands
                logger.warning("the candidate of %s cannot be read: %s", tier, error)
            self._aliases[tier] = (self._clock(), candidate)
        return candidate
