"""When outcomes leave Redis."""

from collections.abc import Sequence

import pytest

from pointsman_producer.client import releases
from pointsman_producer.client.releases import Releases
from pointsman_shared import errors
from tests.support.fake_workers import Workers


def test_outcomes_go_many_messages_at_a_time_and_only_when_they_are_secure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(releases, "RELEASE_MESSAGES", 2)
    workers, events = Workers(), list[str]()
    workers.on_release = lambda message_ids: events.append(" ".join(message_ids))
    waiting = Releases(workers, secure=lambda: events.append("secure"))
    for message_id in "abc":
        waiting.add(message_id)
    assert events == ["secure", "a b"]
    waiting.flush()
    waiting.flush()
    assert events == ["secure", "a b", "secure", "c"]


def test_outcomes_that_cannot_be_let_go_now_are_left_to_expire() -> None:
    def fail(message_ids: Sequence[str]) -> None:
        raise errors.BrokerUnavailableError

    workers = Workers()
    workers.on_release = fail
    waiting = Releases(workers)
    waiting.add("a")
    waiting.flush()
    assert workers.released == []
