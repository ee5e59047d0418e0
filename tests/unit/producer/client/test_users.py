"""Whom jobs are for."""

import pytest

from pointsman_producer.client import users
from pointsman_shared import errors
from pointsman_shared.wire import jobs

ANA = jobs.User(id="ana", custom={"plan": "pro"})


def test_a_bare_id_is_a_user_and_none_stays_none() -> None:
    assert [users.as_user(user) for user in ("ana", ANA, None)] == [jobs.User(id="ana"), ANA, None]
    with pytest.raises(errors.InvalidMessageError, match="id: String should have at least 1 character"):
        users.as_user("")


def test_users_are_distinct_by_what_they_are() -> None:
    free = jobs.User(id="ana", custom={"plan": "free"})
    people = [ANA, None, free, ANA.model_copy(), ANA]
    assert users.distinct_users(people) == ([ANA, free], [0, jobs.ANONYMOUS, 1, 0, 0])
    assert users.distinct_users([None]) == ([], [jobs.ANONYMOUS])
