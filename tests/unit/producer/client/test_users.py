"""Whom jobs are for."""

import pytest

from pointsman_producer.client import users
from pointsman_shared import errors
from pointsman_shared.wire import jobs

ANA = jobs.User(id="ana", custom={"plan": "pro"})


def test_a_bare_id_is_a_user_and_none_stays_none() -> None:
    assert [users.as_user(user) for user in ("ana", ANA, None)] == [jobs.User(id="ana"), ANA, None]
    with pytest.raises(errors.InvalidMessageError, match="id: is empty"):
        users.as_user("")


def test_users_are_distinct_by_what_they_are() -> None:
    free = jobs.User(id="ana", custom={"plan": "free"})
    people = [ANA, None, free, ANA.model_copy(), ANA]
    assert users.distinct_users(people) == ([ANA, free], [0, jobs.ANONYMOUS, 1, 0, 0])
    assert users.distinct_users([None]) == ([], [jobs.ANONYMOUS])


def test_a_user_may_be_given_as_its_fields_and_what_is_none_is_left_out() -> None:
    given = {"id": "ana", "custom": {"plan": "pro", "seats": None}}
    assert users.as_user(given) == ANA
    with pytest.raises(errors.InvalidMessageError, match="nickname"):
        users.as_user({"id": "ana", "nickname": "an"})


def test_an_integer_that_not_every_library_reads_is_refused() -> None:
    with pytest.raises(errors.InvalidMessageError, match="custom"):
        users.as_user({"id": "ana", "custom": {"score": 10**400}})


def test_an_attribute_that_is_no_field_is_sent_to_custom() -> None:
    with pytest.raises(
        errors.InvalidMessageError, match=r"no field 'plan': further attributes.* go into custom"
    ):
        users.as_user({"id": "a", "plan": "pro"})


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_json_cannot_say_is_refused_before_it_is_submitted(number: float) -> None:
    with pytest.raises(errors.InvalidMessageError, match="is NaN or infinite"):
        users.as_user({"id": "ana", "custom": {"score": number}})
