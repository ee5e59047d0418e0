"""Messages in flight: their order, timeouts and errors, and when their outcomes leave Redis."""

from collections.abc import Callable, Sequence

import pytest

from pointsman_producer.client import handles, window
from pointsman_producer.client.window import Chunk, Submitter, Window
from pointsman_producer.transcripts.reader import Conversation, Turn
from pointsman_shared import errors, names
from pointsman_shared.wire import jobs
from tests.support.fake_workers import Workers


class ClosedClient:
    """Takes messages, and is closed while they are in flight."""

    def submit_message(
        self, request: jobs.ClassifyRequest, *, message_id: str, queue: str
    ) -> handles.MessageHandle:
        handle = handles.MessageHandle(message_id)
        handle.future.cancel()
        return handle

    def release(self, message_ids: Sequence[str]) -> None:
        pass

    def forget(self, message_ids: Sequence[str], *, batch: str | None = None) -> None:
        pass

    def lost(self, message_ids: Sequence[str]) -> list[str]:
        return []


class Stopped(Exception):  # noqa: N818  it is no error
    """What ends a wait."""


def chunk(number: int) -> Chunk:
    owner = Conversation(id=f"c{number}", user=None, turns=(), line=10 * number)
    last = Conversation(id="last", user=None, turns=(), line=10 * number + 5)
    turn = Turn(0, "customer", "hi", None)
    return Chunk(number=number, owners=[owner, last], turns=[turn, turn], position=0)


def sent(
    workers: Submitter,
    messages: int,
    *,
    timeout_s: float = 5,
    look_s: float = 60,
    heed: Callable[[], None] = lambda: None,
) -> Window:
    in_flight = Window(workers, source="in.jsonl", timeout_s=timeout_s, look_s=look_s, heed=heed)
    for number in range(messages):
        in_flight.send(chunk(number), chunk(number).request(), message_id=f"m{number}", written=number)
    return in_flight


def test_replies_are_taken_in_the_order_of_the_messages() -> None:
    workers = Workers(patience=2)
    in_flight = sent(workers, 3)
    taken = []
    while in_flight:
        message, reply = in_flight.take()
        taken.append((message.chunk.number, message.written, message.handle.id, reply.message_id))
    assert taken == [(number, number, f"m{number}", f"m{number}") for number in range(3)]
    assert workers.queues == {names.BULK_QUEUE}


def test_a_reply_that_is_not_there_leaves_its_message_in_flight() -> None:
    in_flight = sent(Workers(patience=1), 1)
    with pytest.raises(errors.ResultTimeoutError):
        in_flight.take_ready()
    assert len(in_flight) == 1
    assert in_flight.take_ready()[1].message_id == "m0"
    assert len(in_flight) == 0


def test_patience_ends_with_advice() -> None:
    with pytest.raises(errors.ResultTimeoutError, match="no outcome came for 0 s: are workers running"):
        sent(Workers(patience=10**9), 1, timeout_s=0).take()


def test_messages_that_redis_has_lost_are_sent_again_under_their_ids() -> None:
    workers = Workers(patience=3)
    in_flight = sent(workers, 3, look_s=0)
    workers.to_lose = {"m0", "m2"}
    before = workers.requests["m2"]
    assert in_flight.take()[1].message_id == "m0"
    assert workers.sent == ["m0", "m1", "m2", "m0", "m2"]
    assert workers.requests["m2"] is before


def test_a_wait_can_be_ended_and_taken_up_again() -> None:
    asked: list[bool] = []

    def heed() -> None:
        asked.append(True)
        if len(asked) == 3:
            raise Stopped

    in_flight = sent(Workers(patience=3), 1, heed=heed)
    with pytest.raises(Stopped):
        in_flight.take()
    assert in_flight.take()[1].message_id == "m0"


def test_a_message_that_was_given_up_is_named_with_its_lines() -> None:
    error = errors.JobFailedError("it is a dead letter")
    error.dead_letter = "m1"
    in_flight = sent(Workers(fail_after=1, error=error), 2)
    in_flight.take()
    with pytest.raises(
        errors.JobFailedError,
        match=r"^message m1 \(lines 10 to 15 of in.jsonl\) failed: it is a dead letter$",
    ) as named:
        in_flight.take()
    assert named.value.dead_letter == "m1"


def test_no_job_waits_for_a_client_that_was_closed() -> None:
    asked: list[bool] = []
    with pytest.raises(errors.ResultTimeoutError, match="m0 was given up, or the client was closed"):
        sent(ClosedClient(), 1, timeout_s=60, heed=lambda: asked.append(True)).take()
    assert asked == [True]


def test_outcomes_go_many_messages_at_a_time_and_only_when_they_are_secure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(window, "RELEASE_MESSAGES", 2)
    workers, events = Workers(), list[str]()
    workers.on_release = lambda message_ids: events.append(" ".join(message_ids))
    waiting = Window(workers, source="in.jsonl", secure=lambda: events.append("secure"))
    for message_id in "abc":
        waiting.release(message_id)
    assert events == ["secure", "a b"]
    waiting.flush()
    waiting.flush()
    assert events == ["secure", "a b", "secure", "c"]


def test_outcomes_that_cannot_be_let_go_now_are_left_to_expire() -> None:
    def fail(message_ids: Sequence[str]) -> None:
        raise errors.BrokerUnavailableError

    workers = Workers()
    workers.on_release = fail
    waiting = Window(workers, source="in.jsonl")
    waiting.release("a")
    waiting.flush()
    assert workers.released == []
