"""Which texts are shadowed: by one draw a message, at each user's rate."""

import statistics

import pytest

from pointsman_shared.wire import jobs
from pointsman_workers.flags.provider import Value
from pointsman_workers.shadow import sampling
from tests.support.flags import FakeFlags

FREE, PRO = (jobs.User(id=plan, custom={"plan": plan}, country="GB") for plan in ("free", "pro"))
TEXTS = ["hi", "bye", "card?"]


def request(users: list[jobs.User], user_of: list[int]) -> jobs.ClassifyRequest:
    return jobs.ClassifyRequest(texts=TEXTS, users=users, user_of=user_of)


class Rates(FakeFlags):
    def __init__(self, rates: dict[str | None, float], *, targeted: bool | None = True) -> None:
        self.rates = rates
        self.targeted = targeted
        self.asked: list[str | None] = []

    def is_targeted(self, key: str) -> bool | None:
        return self.targeted

    def decide(self, key: str, default: Value, user: jobs.User | None = None) -> jobs.FlagDecision:
        name = user.id if user else None
        self.asked.append(name)
        return jobs.FlagDecision(key=key, value=self.rates.get(name, default), reason="default")


def test_draws_are_uniform_and_the_same_for_the_same_message() -> None:
    draws = [sampling.draw(f"message-{number}") for number in range(20_000)]
    assert draws[7] == sampling.draw("message-7")
    assert statistics.mean(draws) == pytest.approx(0.5, abs=0.01)
    assert sum(value < 0.1 for value in draws) == pytest.approx(2_000, abs=130)


def test_a_message_is_shadowed_whole_at_the_rate_of_the_flag() -> None:
    rates = Rates({None: 0.3}, targeted=False)
    taken = [sampling.sample(request([FREE], [0, 0, 0]), f"m{n}", rates) for n in range(5_000)]
    assert {len(places) for places in taken} == {0, 3}
    assert sum(map(bool, taken)) == pytest.approx(1_500, abs=130)


def test_each_user_has_a_rate_of_their_own() -> None:
    rates = Rates({"pro": 1.0, "free": 0.0, None: 1.0})
    assert sampling.sample(request([FREE, PRO], [1, 0, 1]), "m", rates) == [0, 2]
    assert sampling.sample(request([FREE, PRO], [1, 1, -1]), "m", rates) == range(3)
    assert rates.asked == ["free", "pro", "free", "pro", None]


@pytest.mark.parametrize("rates", [Rates({None: 1.0}, targeted=None), Rates({None: 0.0}, targeted=False)])
def test_without_a_flag_or_at_rate_zero_nothing_is_shadowed(rates: Rates) -> None:
    assert not sampling.sample(request([FREE, PRO], [0, 1, 0]), "m", rates)
    assert len(rates.asked) <= 1
