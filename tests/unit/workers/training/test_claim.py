"""Holding a tier's claim while a training runs."""

from typing import Any

import pytest

from pointsman_shared import errors
from pointsman_shared.store import training_claims
from pointsman_workers.delivery.ledger import AlreadyDoneError
from pointsman_workers.training import claim


class Claims:
    """Claims that answer what the test says, and remember what they were asked."""

    renewal_s = 60.0

    def __init__(self, *, claimed: str = training_claims.MINE, renewed: str = training_claims.MINE) -> None:
        self.claimed, self.renewed = claimed, renewed
        self.is_away = False
        self.renewals = 0
        self.released: list[str] = []

    def claim(self, _tier: str, _run: str, _holder: str) -> str:
        return self.claimed

    def renew(self, _tier: str, _run: str, _holder: str) -> str:
        self.renewals += 1
        return self._answer(self.renewed)

    def release(self, tier: str, _run: str, _holder: str) -> None:
        self.released.append(self._answer(tier))

    def _answer(self, answer: str) -> str:
        if self.is_away:
            msg = "Redis is away"
            raise errors.BrokerUnavailableError(msg)
        return answer


def held(claims: Claims) -> Any:
    return claim.held(claims, "base", "run 1")  # type: ignore[arg-type]


def test_a_run_that_checks_its_claim_often_asks_redis_seldom() -> None:
    claims = Claims()
    with held(claims) as check:
        for _ in range(10_000):
            check()
    assert 0 < claims.renewals < 5_000
    assert claims.released == ["base"]


@pytest.mark.parametrize(
    ("renewed", "error", "said"),
    [
        (training_claims.CANCELLED, errors.CancelledError, "base was cancelled"),
        (training_claims.LOST, errors.BusyError, "another run trains tier base"),
    ],
)
def test_a_run_that_must_stop_hears_of_it_before_it_works_and_frees_its_tier(
    renewed: str, error: type[Exception], said: str
) -> None:
    claims, worked = Claims(renewed=renewed), False
    with pytest.raises(error, match=said), held(claims):
        worked = True
    assert not worked
    assert claims.released == ["base"]


@pytest.mark.parametrize(
    ("claimed", "error"), [(training_claims.DONE, AlreadyDoneError), ("run 7", errors.BusyError)]
)
def test_a_tier_that_another_run_has_is_neither_trained_nor_freed(
    claimed: str, error: type[Exception]
) -> None:
    claims = Claims(claimed=claimed)
    with pytest.raises(error, match="run"), held(claims):
        pass
    assert (claims.renewals, claims.released) == (0, [])


def test_a_run_goes_on_while_redis_is_away() -> None:
    claims = Claims()
    claims.is_away = True
    with held(claims) as check:
        check()
    assert claims.released == []
