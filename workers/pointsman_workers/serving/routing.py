"""Routing each job of a message to a tier, by the feature flag of its user, at dequeue."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pointsman_models.data.tiers import Routing
from pointsman_shared.wire import jobs
from pointsman_workers.flags.provider import ERROR, NO_CONFIG, Provider

MOST_PROBLEMS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """The routes of the texts of one message: distinct decisions, their tiers, and for each text its place among them."""

    decisions: Sequence[jobs.FlagDecision]
    tiers: Sequence[str]
    of: Sequence[int]


class Router:
    """Routes messages as the declaration of the tiers says."""

    def __init__(self, flags: Provider, routing: Callable[[], Routing]) -> None:
        self._flags = flags
        self._routing = routing
        # What leads to no tier, and the version of the configuration that said so.
        self._leading_nowhere: dict[str, str | None] = {}

    def route(self, request: jobs.ClassifyRequest) -> Routes:
        """Evaluate the tier flag once per distinct user of a message, not once per text."""
        routing, user_of = self._routing(), request.user_places()
        found: dict[tuple[jobs.FlagDecision, str], int] = {}
        # The last place is for texts without a user, whose place is -1.
        users = [*request.users, *([None] if jobs.ANONYMOUS in user_of else [])]
        asked = [self._ask(routing, user) for user in users]
        # Users share the objects of equal decisions, and an object's id is found faster than what it holds.
        place_of_id = {
            each: found.setdefault(self._followed(routing, decision), len(found))
            for each, decision in {id(decision): decision for decision in asked}.items()
        }
        place_of = [place_of_id[id(decision)] for decision in asked]
        decisions, tiers = zip(*found, strict=True)
        return Routes(decisions=decisions, tiers=tiers, of=[place_of[user] for user in user_of])

    def problems(self) -> list[str]:
        """Return why the flag, or which of its values, leads to no tier."""
        routing = self._routing()
        now = self._ask(routing, None)
        found = [
            f"flag {value}, which leads to no tier: the default serves"
            for value, etag in self._leading_nowhere.items()
            if etag == now.etag
        ]
        # A flag that is missing or has another type is so for every user.
        if now.reason == ERROR:
            kind = "boolean" if routing.is_boolean else "text"
            found.append(f"flag {routing.flag} is missing, or no {kind} flag: the default serves")
        return found

    def _ask(self, routing: Routing, user: jobs.User | None) -> jobs.FlagDecision:
        return self._flags.decide(routing.flag, False if routing.is_boolean else "", user)

    def _followed(self, routing: Routing, decision: jobs.FlagDecision) -> tuple[jobs.FlagDecision, str]:
        """Return a decision and the tier that it leads to."""
        if decision.reason in {NO_CONFIG, ERROR}:
            return decision, routing.default
        tier = routing.tier(decision.value)
        if tier is not None:
            return decision, tier
        if decision.etag not in self._leading_nowhere.values():
            self._leading_nowhere.clear()
        if len(self._leading_nowhere) < MOST_PROBLEMS:
            self._leading_nowhere[f"{routing.flag} = {decision.value!r}"] = decision.etag
        return decision.model_copy(update={"reason": ERROR}), routing.default
