"""Which way the texts of a message go."""

from pointsman_shared.wire import jobs
from pointsman_workers.serving import routing
from tests.support.flags import PlanFlags

FREE = jobs.User(id="free", custom={"plan": "free"})
ALSO_FREE = jobs.User(id="also-free", custom={"plan": "free"})
PRO = jobs.User(id="pro", custom={"plan": "pro"})


def request(users: list[jobs.User], user_of: list[int] | None, texts: int) -> jobs.ClassifyRequest:
    return jobs.ClassifyRequest(texts=["hi"] * texts, users=users, user_of=user_of)


def test_the_flag_is_evaluated_once_per_distinct_user_not_once_per_text() -> None:
    flags = PlanFlags()
    routing.route(request([FREE, PRO], [0, 1, 0, 1, 0], 5), flags)
    assert flags.asked == ["free", "pro"]


def test_each_text_follows_its_own_users_decision() -> None:
    routes = routing.route(request([FREE, PRO], [1, 0, 1], 3), PlanFlags())
    assert [routes.tier(place) for place in routes.of] == ["pro", "base", "pro"]


def test_users_with_the_same_decision_share_a_route() -> None:
    routes = routing.route(request([FREE, ALSO_FREE], [0, 1], 2), PlanFlags())
    assert list(routes.of) == [0, 0]
    assert len(routes.decisions) == 1


def test_nobody_is_somebody_for_the_flag() -> None:
    flags = PlanFlags()
    routes = routing.route(request([PRO], [-1, 0, -1], 3), flags)
    assert flags.asked == ["pro", None]
    assert [routes.tier(place) for place in routes.of] == ["base", "pro", "base"]


def test_a_message_without_users_is_nobodys() -> None:
    routes = routing.route(request([], None, 2), PlanFlags())
    assert [routes.tier(place) for place in routes.of] == ["base", "base"]


def test_the_only_user_of_a_message_owns_all_its_texts() -> None:
    routes = routing.route(request([PRO], None, 2), PlanFlags())
    assert [routes.tier(place) for place in routes.of] == ["pro", "pro"]
