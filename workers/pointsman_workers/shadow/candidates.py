"""Which versions a served text is compared with: the other tiers' champions, and the served tier's candidate."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pointsman_models.inference.classifier import Classifier
from pointsman_models.registry.aliases import Aliases
from pointsman_shared import names


class Models(Protocol):
    """The classifiers of the process."""

    @property
    def tiers(self) -> tuple[str, ...]:
        """The tiers to serve."""
        ...

    def versions(self) -> Mapping[str, int]:
        """Return the serving version of each tier."""
        ...

    def version(self, tier: str, version: int) -> Classifier:
        """Return any version."""
        ...


class Registry(Protocol):
    """The place of the versions."""

    def aliases(self, tier: str) -> Aliases:
        """Return which versions are champion and candidate."""
        ...


@dataclass(frozen=True, slots=True)
class Rival:
    """A version that is compared with the served one."""

    tier: str
    version: int

    @property
    def name(self) -> str:
        """As `pro@8`."""
        return names.version_name(self.tier, self.version)


class Candidates:
    """Finds rivals and their classifiers. For the thread that runs the messages."""

    def __init__(self, registry: Registry, models: Models) -> None:
        self._registry = registry
        self._models = models
        self._candidates: dict[str, int | None] = {}

    def rivals(self, tier: str, version: int) -> list[Rival]:
        """Return the versions that a served version is compared with."""
        serving = self._models.versions()
        found = [
            Rival(other, serving[other]) for other in self._models.tiers if other != tier and other in serving
        ]
        candidate = self._candidate(tier)
        if candidate is not None and candidate != version:
            found.append(Rival(tier, candidate))
        return found

    def classifier(self, tier: str, version: int) -> Classifier:
        """Return a version, or raise what keeps it from being loaded."""
        return self._models.version(tier, version)

    def _candidate(self, tier: str) -> int | None:
        # A registry may be away in any way: then the last answer stands, and the refresh of the models complains.
        with contextlib.suppress(Exception):
            self._candidates[tier] = self._registry.aliases(tier).candidate
        return self._candidates.get(tier)
