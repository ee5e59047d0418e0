"""Which way the texts of a message go."""

import pytest

from pointsman_models.data.tiers import Routing
from pointsman_shared.wire import jobs
from pointsman_workers.flags.provider import Value
from pointsman_workers.serving.routing import Router, Routes
from tests.support.flags import ROUTING, FakeFlags, PlanFlags

FREE = jobs.User(id="free", custom={"plan": "free"})
ALSO_FREE = jobs.User(id="also-free", custom={"plan": "free"})
PRO = jobs.User(id="pro", custom={"plan": "pro"})


def route(request: jobs.ClassifyRequest, flags: FakeFlags) -> Routes:
    return Router(flags, lambda: ROUTING).route(request)


def request(users: list[jobs.User], user_of: list[int] | None, texts: int) -> jobs.ClassifyRequest:
    return jobs.ClassifyRequest(texts=["hi"] * texts, users=users, user_of=user_of)


def test_the_flag_is_evaluated_once_per_distinct_user_not_once_per_text() -> None:
    flags = PlanFlags()
    route(request([FREE, PRO], [0, 1, 0, 1, 0], 5), flags)
    assert flags.asked == ["free", "pro"]


def test_each_text_follows_its_own_users_decision() -> None:
    routes = route(request([FREE, PRO], [1, 0, 1], 3), PlanFlags())
    assert [routes.tiers[place] for place in routes.of] == ["pro", "base", "pro"]


def test_users_with_the_same_decision_share_a_route() -> None:
    routes = route(request([FREE, ALSO_FREE], [0, 1], 2), PlanFlags())
    assert list(routes.of) == [0, 0]
    assert len(routes.decisions) == 1


def test_a_text_without_a_user_gets_a_decision_of_its_own() -> None:
    flags = PlanFlags()
    routes = route(request([PRO], [-1, 0, -1], 3), flags)
    assert flags.asked == ["pro", None]
    assert [routes.tiers[place] for place in routes.of] == ["base", "pro", "base"]


def test_the_texts_of_a_message_without_users_share_one_decision() -> None:
    routes = route(request([], None, 2), PlanFlags())
    assert [routes.tiers[place] for place in routes.of] == ["base", "base"]


def test_the_only_user_of_a_message_owns_all_its_texts() -> None:
    routes = route(request([PRO], None, 2), PlanFlags())
    assert [routes.tiers[place] for place in routes.of] == ["pro", "pro"]


class TextFlags(FakeFlags):
    """A text flag with the same value for every user."""

    def __init__(self, value: Value, reason: str = "targeting_rule") -> None:
        self.value = value
        self.reason = reason

    def decide(self, key: str, default: Value, user: jobs.User | None = None) -> jobs.FlagDecision:
        assert (key, default) == ("plan", "")
        return jobs.FlagDecision(key=key, value=self.value, reason=self.reason)


PLANS = Routing(flag="plan", values={"free": "base", "enterprise": "third"}, default="pro")


def test_a_text_flag_leads_to_any_tier() -> None:
    router = Router(TextFlags("enterprise"), lambda: PLANS)
    routes = router.route(request([FREE], None, 1))
    assert (routes.tiers, routes.decisions[0].reason) == (("third",), "targeting_rule")
    assert router.problems() == []


def test_a_value_that_leads_to_no_tier_gives_the_default_with_an_error_and_a_complaint() -> None:
    router = Router(TextFlags("platinum"), lambda: PLANS)
    routes = router.route(request([FREE, PRO], [0, 1], 2))
    assert (routes.tiers, routes.decisions[0].reason) == (("pro",), "error")
    assert router.problems() == ["flag plan = 'platinum', which leads to no tier: the default serves"]


@pytest.mark.parametrize(
    ("reason", "problems"),
    [("no_config", []), ("error", ["flag plan is missing, or no text flag: the default serves"])],
)
def test_without_a_usable_flag_the_declared_default_serves(reason: str, problems: list[str]) -> None:
    router = Router(TextFlags("", reason), lambda: PLANS)
    routes = router.route(request([FREE], None, 1))
    assert (routes.tiers, routes.decisions[0].reason) == (("pro",), reason)
    assert router.problems() == problems


def test_a_changed_declaration_is_followed_by_the_next_message() -> None:
    current = [ROUTING]
    router = Router(PlanFlags(), lambda: current[0])
    assert router.route(request([PRO], None, 1)).tiers == ("pro",)
    current[0] = Routing(flag="proModel", values={"true": "third", "false": "base"}, default="base")
    assert router.route(request([PRO], None, 1)).tiers == ("third",)
