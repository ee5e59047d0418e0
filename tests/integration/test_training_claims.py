"""One training per tier, each run once, with the claims in a real Redis."""

import threading
import time

import pytest
from redis import Redis

from pointsman_shared import errors
from pointsman_shared.settings import Settings
from pointsman_shared.store import training_claims
from pointsman_shared.store.connection import Store
from pointsman_shared.store.training_claims import TrainingClaims
from pointsman_workers.delivery.ledger import AlreadyDoneError
from pointsman_workers.training import claim
from tests.support.deadlines import eventually
from tests.support.default_keys import keys
from tests.support.ledgers import open_ledger


@pytest.fixture
def claims(settings: Settings) -> TrainingClaims:
    return TrainingClaims(Store.connect(settings), claim_s=0.6)


def test_a_run_that_has_its_outcome_is_not_run_again(claims: TrainingClaims, settings: Settings) -> None:
    with claim.held(claims, "base", "run 1"):
        open_ledger(settings).finish("run 1", {})
    with pytest.raises(AlreadyDoneError), claim.held(claims, "base", "run 1"):
        pytest.fail("run twice")


def test_another_run_of_the_tier_is_refused_and_another_tier_is_not(claims: TrainingClaims) -> None:
    with claim.held(claims, "base", "run 1"):
        with pytest.raises(errors.BusyError, match="by run run 1"), claim.held(claims, "base", "run 2"):
            pytest.fail("two runs of one tier")
        with claim.held(claims, "pro", "run 3"):
            pass
    with claim.held(claims, "base", "run 2"):
        pass


def test_the_same_run_delivered_twice_at_once_is_run_once(claims: TrainingClaims, settings: Settings) -> None:
    second: list[str] = []

    def again() -> None:
        try:
            with claim.held(claims, "base", "run 1"):
                second.append("run twice")
        except AlreadyDoneError:
            second.append("already done")

    thread = threading.Thread(target=again)
    with claim.held(claims, "base", "run 1"):
        thread.start()
        # Longer than a claim that is not renewed.
        time.sleep(1.0)
        open_ledger(settings).finish("run 1", {})
    thread.join(10)
    assert second == ["already done"]


def test_the_claim_of_a_dead_trainer_ends_and_its_run_goes_on_elsewhere(claims: TrainingClaims) -> None:
    assert claims.claim("base", "run 1", "the dead") == training_claims.MINE
    with claim.held(claims, "base", "run 1"):
        pass


def test_a_run_that_is_asked_to_stop_stops_at_its_next_step(claims: TrainingClaims) -> None:
    def run() -> None:
        with claim.held(claims, "base", "run 1") as check:
            assert claims.cancel("base", "marge") == "run 1"
            eventually(lambda: check() is not None, "the run hears of it")

    with pytest.raises(errors.CancelledError):
        run()
    with claim.held(claims, "base", "run 2"):
        pass


def test_a_request_to_stop_outlives_the_trainer_that_died(claims: TrainingClaims, redis: Redis) -> None:
    redis.hset(keys.open("run 1"), "message", "waits to be delivered again")
    claims.claim("base", "run 1", "the dead")
    claims.cancel("base", "marge")
    time.sleep(0.7)
    with pytest.raises(errors.CancelledError), claim.held(claims, "base", "run 1"):
        pytest.fail("the next delivery works on it")


def test_a_run_can_be_asked_to_stop_after_its_trainer_died(claims: TrainingClaims, redis: Redis) -> None:
    redis.hset(keys.open("run 1"), "message", "waits to be delivered again")
    claims.claim("base", "run 1", "the dead")
    time.sleep(0.7)
    assert claims.book("base", "run 2") == "run 1"
    assert claims.cancel("base", "marge") == "run 1"
    redis.delete(keys.open("run 1"))
    assert claims.cancel("base", "marge") is None
    assert claims.book("base", "run 2") == "run 2"
    assert claims.claim("base", "run 2", "a trainer") == claims.renew("base", "run 2", "a trainer") == "mine"


def test_a_run_whose_claim_was_taken_over_stops(claims: TrainingClaims, redis: Redis) -> None:
    def run() -> None:
        with claim.held(claims, "base", "run 1") as check:
            redis.hset(keys.training("base"), mapping={"id": "run 9", "holder": "another", "ends": 9e9})
            eventually(lambda: check() is not None, "the run hears of it")

    with pytest.raises(errors.BusyError, match="another run"):
        run()
    assert redis.hget(keys.training("base"), "holder") == b"another"


def test_a_tier_is_booked_for_the_run_that_asked_first(claims: TrainingClaims, redis: Redis) -> None:
    assert [claims.book("base", run) for run in ("run 1", "run 2")] == ["run 1", "run 1"]
    claims.unbook("base", "run 2")
    assert redis.exists(keys.training("base"))
    claims.unbook("base", "run 1")
    assert claims.book("base", "run 2") == "run 2"
    assert claims.cancel("pro", "marge") is None


@pytest.mark.parametrize(("worked_s", "attempts"), [(55, b"2"), (65, b"0")])
def test_a_run_that_has_worked_for_a_minute_starts_again_at_zero_attempts(
    worked_s: float, attempts: bytes, claims: TrainingClaims, redis: Redis
) -> None:
    entry = keys.open("run 1")
    claims.claim("base", "run 1", "trainer")
    redis.hset(entry, mapping={"message": "x", "attempts": 2, "started_at": time.time() - worked_s})
    assert claims.renew("base", "run 1", "trainer") == training_claims.MINE
    assert redis.hget(entry, "attempts") == attempts
