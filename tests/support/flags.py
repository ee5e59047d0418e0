"""Hand-written stand-ins for the flag provider."""

from collections.abc import Collection

from pointsman_models.data.tiers import Routing
from pointsman_shared.wire import jobs
from pointsman_workers.flags.provider import FlagState, Value
from pointsman_workers.serving.routing import Router

ROUTING = Routing(flag="proModel", values={"true": "pro", "false": "base"}, default="base")


class FakeFlags:
    """Flags that are all at their defaults, and depend on no user."""

    def is_targeted(self, key: str) -> bool | None:
        return None

    def decide(self, key: str, default: Value, user: jobs.User | None = None) -> jobs.FlagDecision:
        return jobs.FlagDecision(key=key, value=default, reason="default")

    def state(self) -> FlagState:
        return FlagState(source="fake", etag=None, fetched_at=None, problem=None)

    def close(self) -> None:
        pass


class PlanFlags(FakeFlags):
    """Sends the users of some plans to pro, and remembers for whom it was asked."""

    def __init__(self, pro_plans: Collection[str] = ("pro",)) -> None:
        self.pro_plans = pro_plans
        self.asked: list[str | None] = []

    def is_targeted(self, key: str) -> bool | None:
        return True

    def decide(self, key: str, default: Value, user: jobs.User | None = None) -> jobs.FlagDecision:
        self.asked.append(user.id if user else None)
        if user is not None and user.custom.get("plan") in self.pro_plans:
            return jobs.FlagDecision(
                key=key, value=True, variation_id="p", reason="targeting_rule", etag="e1"
            )
        return jobs.FlagDecision(key=key, value=default, variation_id="b", reason="default", etag="e1")


def plan_router() -> Router:
    """Route the users of the plan `pro` to pro, all others to base."""
    return Router(PlanFlags(), lambda: ROUTING)
