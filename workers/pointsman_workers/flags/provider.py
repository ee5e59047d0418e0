"""The port to feature flags: what features ask of them, whichever vendor answers."""

from dataclasses import dataclass
from typing import Final, Protocol

from pointsman_shared.wire import jobs

Value = bool | int | float | str

# The reasons of a decision.
TARGETING_RULE: Final = "targeting_rule"
PERCENTAGE: Final = "percentage"
DEFAULT: Final = "default"
NO_CONFIG: Final = "no_config"
ERROR: Final = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagState:
    """The state of the flag configuration in one process."""

    source: str
    etag: str | None
    fetched_at: float | None
    """When the configuration was last read from its origin or confirmed there, seconds since the epoch."""
    problem: str | None


class Provider(Protocol):
    """Feature flags as one process evaluates them. No method raises."""

    def decide(self, key: str, default: Value, user: jobs.User | None = None) -> jobs.FlagDecision:
        """Evaluate a flag for a user; always returns a decision, with a reason."""
        ...

    def is_targeted(self, key: str) -> bool | None:
        """Return whether a flag's value can depend on the user; None if there is no such flag."""
        ...

    def state(self) -> FlagState:
        """Return the state of the configuration."""
        ...

    def close(self) -> None:
        """Release what the provider holds."""
        ...
