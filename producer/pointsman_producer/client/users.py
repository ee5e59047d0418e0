"""Users of jobs: as callers give them, and as a request carries them, each distinct one once."""

from collections.abc import Mapping, Sequence
from typing import Any

from pointsman_shared.wire import jobs

UserLike = jobs.User | Mapping[str, Any] | str | None
"""A user, the fields of one, a bare id, or no user."""


def as_user(user: UserLike) -> jobs.User | None:
    """Turn a bare id, or a user's fields, into a user; raise InvalidMessageError if it breaks a limit."""
    if user is None or isinstance(user, jobs.User):
        return user
    return jobs.User.parse({"id": user} if isinstance(user, str) else user)


def distinct_users(users: Sequence[jobs.User | None]) -> tuple[list[jobs.User], list[int]]:
    """Return the distinct users and, for each entry, its place among them (`jobs.ANONYMOUS` without a user)."""
    by_identity: dict[int, int] = {}
    by_content: dict[str, int] = {}
    distinct: list[jobs.User] = []
    for user in users:
        if user is None or id(user) in by_identity:
            continue
        content = user.model_dump_json()
        if content not in by_content:
            by_content[content] = len(distinct)
            distinct.append(user)
        by_identity[id(user)] = by_content[content]
    return distinct, [jobs.ANONYMOUS if user is None else by_identity[id(user)] for user in users]


def checked_request(
    texts: Sequence[str], users: Sequence[jobs.User | None], batch: str | None = None, *, ranking: int = 1
) -> jobs.ClassifyRequest:
    """Put texts and their users into a request; raise InvalidMessageError if it breaks a limit."""
    distinct, user_of = distinct_users(users)
    return jobs.ClassifyRequest.parse(
        {
            "texts": list(texts),
            "users": distinct,
            "user_of": user_of if distinct else None,
            "batch": batch,
            "ranking": ranking,
        }
    )
