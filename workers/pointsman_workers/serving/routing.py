"""Routing each job of a message to a tier, by the feature flag of its user, at dequeue."""

from collections.abc import Sequence
from dataclasses import dataclass

from pointsman_shared import names
from pointsman_shared.wire import jobs
from pointsman_workers.flags.provider import Provider


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """The routes of the texts of one message."""

    decisions: tuple[jobs.FlagDecision, ...]
    of: Sequence[int]

    def tier(self, place: int) -> str:
        """Return the tier that a decision leads to."""
        return names.PRO_TIER if self.decisions[place].value else names.BASE_TIER


def route(request: jobs.ClassifyRequest, flags: Provider) -> Routes:
    """Evaluate the tier flag once per distinct user of a message, not once per text."""
    user_of = request.user_places()
    decisions: dict[jobs.FlagDecision, int] = {}
    place_of_user = [
        decisions.setdefault(flags.decide(names.TIER_FLAG, False, user), len(decisions))
        for user in request.users
    ]
    if jobs.ANONYMOUS in user_of:
        # The last place is for texts without a user, whose place is -1.
        place_of_user.append(decisions.setdefault(flags.decide(names.TIER_FLAG, False, None), len(decisions)))
    return Routes(decisions=tuple(decisions), of=[place_of_user[user] for user in user_of])
