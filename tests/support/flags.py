"""A hand-written stand-in for the flag adapter."""

from collections.abc import Collection

from pointsman_shared.wire import jobs


class PlanFlags:
    """Sends the users of some plans to pro, and remembers whom it was asked about."""

    def __init__(self, pro_plans: Collection[str] = ("pro",)) -> None:
        self.pro_plans = pro_plans
        self.asked: list[str | None] = []

    def decide(self, key: str, default: bool, user: jobs.User | None) -> jobs.FlagDecision:
        self.asked.append(user.id if user else None)
        if user is not None and user.custom.get("plan") in self.pro_plans:
            return jobs.FlagDecision(
                key=key, value=True, variation_id="p", reason="targeting_rule", etag="e1"
            )
        return jobs.FlagDecision(key=key, value=default, variation_id="b", reason="default", etag="e1")
