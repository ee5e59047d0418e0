"""Messages under way: their order, patience, and what is said when they fail."""

from collections.abc import Callable, Sequence

import pytest

from pointsman_producer.client import handles
from pointsman_producer.client.chunks import Chunk
from pointsman_producer.client.in_flight import InFlight, Submitter
from pointsman_producer.transcripts.reader import Conversation, Turn
from pointsman_shared import errors, names
from pointsman_shared.wire import jobs
from tests.support.fake_workers import Workers


class ClosedClient:
    """Takes messages, and is closed while they are under way."""

    def submit_message(
        self, request: jobs.ClassifyRequest, *, message_id: str, queue: str
    ) -> handles.MessageHandle:
        handle = handles.MessageHandle(message_id)
        handle.future.cancel()
        return handle

    def release(self, message_ids: Sequence[str]) -> None:
        pass


class Stopped(Exception):  # noqa: N818  it is no error
    """What ends a wait."""


def chunk(number: int) -> Chunk:
    owner = Conversation(id=f"c{number}", user=None, turns=(), line=10 * number)
    last = Conversation(id="last", user=None, turns=(), line=10 * number + 5)
    turn = Turn(0, "customer", "hi", None)
    return Chunk(number=number, owners=[owner, last], turns=[turn, turn], position=0)


def sent(
    workers: Submitter, messages: int, *, timeout_s: float = 5, heed: Callable[[], None] = lambda: None
) -> InFlight:
    under_way = InFlight(workers, source="in.jsonl", timeout_s=timeout_s, heed=heed)
    for number in range(messages):
        under_way.send(chunk(number), chunk(number).request(), message_id=f"m{number}", written=number)
    return under_way


def test_replies_are_taken_in_the_order_of_the_messages() -> None:
    workers = Workers(patience=2)
    under_way = sent(workers, 3)
    taken = []
    while under_way:
        message, reply = under_way.take()
        taken.append((message.chunk.number, message.written, message.handle.id, reply.message_id))
    assert taken == [(number, number, f"m{number}", f"m{number}") for number in range(3)]
    assert workers.queues == {names.BULK_QUEUE}


def test_a_reply_that_is_not_there_leaves_its_message_in_flight() -> None:
    under_way = sent(Workers(patience=1), 1)
    with pytest.raises(errors.ResultTimeoutError):
        under_way.take_ready()
    assert len(under_way) == 1
    assert under_way.take_ready()[1].message_id == "m0"
    assert len(under_way) == 0


def test_patience_ends_with_advice() -> None:
    with pytest.raises(errors.ResultTimeoutError, match="no outcome came for 0 s: are workers running"):
        sent(Workers(patience=10**9), 1, timeout_s=0).take()


def test_a_wait_can_be_ended_and_taken_up_again() -> None:
    asked: list[bool] = []

    def heed() -> None:
        asked.append(True)
        if len(asked) == 3:
            raise Stopped

    under_way = sent(Workers(patience=3), 1, heed=heed)
    with pytest.raises(Stopped):
        under_way.take()
    assert under_way.take()[1].message_id == "m0"


def test_a_message_that_was_given_up_is_named_with_its_lines() -> None:
    error = errors.JobFailedError("it is a dead letter")
    error.dead_letter = "m1"
    under_way = sent(Workers(fail_after=1, error=error), 2)
    under_way.take()
    with pytest.raises(
        errors.JobFailedError,
        match=r"^message m1 \(lines 10 to 15 of in.jsonl\) failed: it is a dead letter$",
    ) as named:
        under_way.take()
    assert named.value.dead_letter == "m1"


def test_nobody_waits_for_a_client_that_was_closed() -> None:
    asked: list[bool] = []
    with pytest.raises(errors.ResultTimeoutError, match="the client was closed before m0 was done"):
        sent(ClosedClient(), 1, timeout_s=60, heed=lambda: asked.append(True)).take()
    assert asked == [True]
