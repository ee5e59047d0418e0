"""The wire's rules: what is let in, and what an error says of it."""

from typing import Any

import pytest

from pointsman_shared import errors, names
from pointsman_shared.wire import jobs

USER = {"id": "u-1", "email": "a@example.com", "country": "GB", "custom": {"plan": "pro", "seats": 3}}
PRIVATE = "my card is 1234"
BAD = {
    "not an object": "hi",
    "no texts": {"texts": []},
    "texts not a list": {"texts": PRIVATE},
    "a text that is a number": {"texts": [PRIVATE, 7]},
    "an unknown field": {"texts": ["hi"], "model": PRIVATE},
    "a text too long": {"texts": [PRIVATE * jobs.MAX_TEXT_CHARS]},
    "too many texts": {"texts": ["hi"] * (jobs.MAX_TEXTS + 1)},
    "too much text": {
        "texts": ["x" * jobs.MAX_TEXT_CHARS] * (jobs.MAX_MESSAGE_CHARS // jobs.MAX_TEXT_CHARS + 1)
    },
    "a lone surrogate": {"texts": ["\ud800"]},
    "user_of too short": {"texts": ["hi", "ho"], "users": [USER], "user_of": [0]},
    "user_of beyond the users": {"texts": ["hi"], "users": [USER], "user_of": [1]},
    "user_of below -1": {"texts": ["hi"], "users": [USER], "user_of": [-2]},
    "several users without user_of": {"texts": ["hi"], "users": [USER, USER]},
    "a user without id": {"texts": ["hi"], "users": [{"email": PRIVATE}]},
    "a nested attribute": {"texts": ["hi"], "users": [{"id": "u", "custom": {"a": {"b": PRIVATE}}}]},
}


@pytest.mark.parametrize("payload", BAD.values(), ids=BAD.keys())
def test_what_breaks_the_schema_is_refused_without_being_quoted(payload: object) -> None:
    with pytest.raises(errors.InvalidMessageError) as caught:
        jobs.ClassifyRequest.parse(payload)
    assert PRIVATE not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_request_survives_the_wire() -> None:
    request = jobs.ClassifyRequest.parse({"texts": ["hi", ""], "users": [USER], "user_of": [0, -1]})
    assert jobs.ClassifyRequest.model_validate_json(request.model_dump_json()) == request


def test_an_error_names_the_place() -> None:
    with pytest.raises(errors.InvalidMessageError, match=r"users\.0\.id"):
        jobs.ClassifyRequest.parse({"texts": ["hi"], "users": [{"id": ""}]})


def test_a_job_id_splits_into_what_it_was_made_of() -> None:
    assert names.parse_job_id(names.job_id("a:b", 12)) == ("a:b", 12)


@pytest.mark.parametrize("job", ["", "abc", ":1", "a:", "a:x", "a:-1"])
def test_what_is_not_a_job_id_is_refused(job: str) -> None:
    with pytest.raises(ValueError, match="not a job id"):
        names.parse_job_id(job)


def test_a_digest_tells_requests_apart_and_not_how_they_are_written() -> None:
    asked: dict[str, Any] = {
        "texts": ["hi"],
        "users": [{"id": "u", "custom": {"plan": "pro", "seats": 3}}],
        "batch": None,
    }
    same = {
        "submitted_at": 7.0,
        "include_texts": False,
        "ranking": 1,
        "user_of": [0],
        "texts": ["hi"],
        "users": [{"custom": {"seats": 3, "plan": "pro"}, "id": "u"}],
    }
    assert jobs.digest(asked) == jobs.digest(same)
    others: list[dict[str, Any]] = [
        {"ranking": 2},
        {"texts": ["hi "]},
        {"texts": ["hi", "hi"]},
        {"users": [{"id": "u", "custom": {"plan": "free", "seats": 3}}]},
        {"users": []},
        {"user_of": [jobs.ANONYMOUS]},
        {"batch": "b"},
        {"include_texts": True},
    ]
    digests = {jobs.digest({**asked, **other}) for other in others}
    assert len({*digests, jobs.digest(asked)}) == len(others) + 1
