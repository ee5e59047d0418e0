"""Sending each job of a message down a tier, as the feature flag says for its user, at dequeue."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pointsman_shared import names
from pointsman_shared.wire import jobs


class Flags(Protocol):
    """Where decisions come from. Always answers, with a reason; never raises."""

    def decide(self, key: str, default: bool, user: jobs.User | None) -> jobs.FlagDecision:
        """Evaluate a flag for a user."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """Which way the texts of one message go.

    Attributes:
        decisions: The distinct decisions.
        of: For each text, the place of its decision.
    """

    decisions: tuple[jobs.FlagDecision, ...]
    of: Sequence[int]

    def tier(self, place: int) -> str:
        """Name the tier a decision leads to."""
        return names.PRO_TIER if self.decisions[place].value else names.BASE_TIER


def route(request: jobs.ClassifyRequest, flags: Flags) -> Routes:
    """Evaluate the tier flag once per distinct user of a message, not once per text."""
    user_of = request.user_places()
    decisions: dict[jobs.FlagDecision, int] = {}
    place_of_user = [
        decisions.setdefault(flags.decide(names.TIER_FLAG, False, user), len(decisions))
        for user in request.users
    ]
    if jobs.ANONYMOUS in user_of:
        # The last place is where -1, nobody, looks.
        place_of_user.append(decisions.setdefault(flags.decide(names.TIER_FLAG, False, None), len(decisions)))
    return Routes(decisions=tuple(decisions), of=[place_of_user[user] for user in user_of])
