"""What a gate may ask of the shadow, and what the shadow answers."""

from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from pointsman_models.data.tiers import GateOptions

# The accuracy that a version may lose on real traffic while the shadow still calls it no worse.
SHADOW_MARGIN: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The shadow's opinion of a version."""

    approves: bool = False
    reason: str
    """The verdict in words, or why there is none yet and how much is missing."""
    watching: bool = False
    """Whether there are labels that do not suffice yet; another candidate would waste them."""
    evidence: dict[str, Any] = field(default_factory=dict)
    """The verdict in figures, for the certificate and the history."""


class Shadow(Protocol):
    """The comparison of a version with the champion on real traffic."""

    def advise(self, tier: str, version: int, *, champion: int, options: GateOptions) -> Advice:
        """Return the verdict on a version against the champion, as far as there is one."""
        ...
