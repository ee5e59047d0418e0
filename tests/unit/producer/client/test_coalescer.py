"""How single jobs come to share messages."""

import itertools
import threading

import pytest

from pointsman_producer.client.coalescer import Coalescer, Draft
from pointsman_shared import errors
from pointsman_shared.wire import jobs
from tests.support.deadlines import eventually

LONG_S = 30.0


class Wire:
    """Records what is sent; can be held up, or broken."""

    def __init__(self) -> None:
        self.sent: list[Draft] = []
        self.open = threading.Event()
        self.open.set()
        self.error: errors.PointsmanError | None = None
        self.arrived = threading.Semaphore(0)

    def send(self, draft: Draft) -> None:
        self.open.wait(LONG_S)
        if self.error:
            raise self.error
        self.sent.append(draft)
        self.arrived.release()

    def wait_for(self, messages: int) -> None:
        for _ in range(messages):
            assert self.arrived.acquire(timeout=LONG_S)

    def sizes(self) -> list[int]:
        return [len(draft.texts) for draft in self.sent]


def coalesce(wire: Wire, *, linger_s: float, max_batch: int) -> Coalescer:
    numbers = itertools.count(1)
    return Coalescer(wire.send, lambda: f"m-{next(numbers)}", linger_s=linger_s, max_batch=max_batch)


def test_a_full_message_goes_without_waiting_for_the_linger() -> None:
    wire = Wire()
    coalescer = coalesce(wire, linger_s=LONG_S, max_batch=3)
    handles = [coalescer.add(f"text {n}", None) for n in range(6)]
    wire.wait_for(2)
    coalescer.close()
    assert wire.sizes() == [3, 3]
    assert [handle.id for handle in handles] == ["m-1:0", "m-1:1", "m-1:2", "m-2:0", "m-2:1", "m-2:2"]


def test_jobs_share_a_message_with_those_of_as_long_a_ranking() -> None:
    wire = Wire()
    coalescer = coalesce(wire, linger_s=LONG_S, max_batch=100)
    handles = [coalescer.add("hi", None, ranking) for ranking in (1, 1, 3)]
    coalescer.close()
    assert [draft.ranking for draft in wire.sent] == [1, 3]
    assert [handle.id for handle in handles] == ["m-1:0", "m-1:1", "m-2:0"]


def test_a_lone_job_goes_when_its_linger_is_over() -> None:
    wire = Wire()
    coalescer = coalesce(wire, linger_s=0.01, max_batch=100)
    coalescer.add("hi", None)
    wire.wait_for(1)
    assert wire.sizes() == [1]
    coalescer.close()


def lingering(coalescer: Coalescer) -> bool:
    """Tell whether the thread waits for a job, or for the linger."""
    return bool(coalescer._changed._waiters)  # type: ignore[attr-defined]  # nothing else shows it


def test_a_job_wakes_a_thread_that_had_nothing_to_do() -> None:
    wire = Wire()
    coalescer = coalesce(wire, linger_s=0.01, max_batch=100)
    for number in range(1, 4):
        coalescer.add("hi", None)
        wire.wait_for(1)
        assert wire.sizes() == [1] * number
        eventually(lambda: lingering(coalescer), "the thread has nothing to do")
    coalescer.close()


def test_the_last_job_that_fits_ends_the_linger_and_no_job_before_it() -> None:
    wire = Wire()
    coalescer = coalesce(wire, linger_s=10 * LONG_S, max_batch=3)
    for _ in range(2):
        coalescer.add("hi", None)
        eventually(lambda: lingering(coalescer), "the thread lingers")
    assert wire.sizes() == []
    coalescer.add("hi", None)
    wire.wait_for(1)
    assert wire.sizes() == [3]
    coalescer.close()


def test_a_job_without_room_sends_the_message_before_it() -> None:
    wire = Wire()
    coalescer = coalesce(wire, linger_s=10 * LONG_S, max_batch=jobs.MAX_TEXTS)
    text = "x" * jobs.MAX_TEXT_CHARS
    fitting = jobs.MAX_MESSAGE_CHARS // jobs.MAX_TEXT_CHARS
    for _ in range(fitting):
        coalescer.add(text, None)
    eventually(lambda: lingering(coalescer), "the thread lingers")
    coalescer.add(text, None)
    wire.wait_for(1)
    assert wire.sizes() == [fitting]
    coalescer.close()


def test_jobs_that_arrive_while_a_message_is_sent_share_the_next_one() -> None:
    wire = Wire()
    coalescer = coalesce(wire, linger_s=0.0, max_batch=100)
    wire.open.clear()
    for n in range(50):
        coalescer.add(f"text {n}", None)
    wire.open.set()
    coalescer.close()
    assert sum(wire.sizes()) == 50
    assert len(wire.sizes()) <= 2 + 1


def test_closing_sends_what_lingers() -> None:
    wire = Wire()
    coalescer = coalesce(wire, linger_s=LONG_S, max_batch=100)
    coalescer.add("hi", jobs.User(id="u"))
    coalescer.close()
    assert wire.sizes() == [1]
    with pytest.raises(errors.ClosedError, match="closed"):
        coalescer.add("too late", None)


def test_a_message_never_exceeds_the_limit_of_characters() -> None:
    wire = Wire()
    coalescer = coalesce(wire, linger_s=LONG_S, max_batch=jobs.MAX_TEXTS)
    text = "x" * jobs.MAX_TEXT_CHARS
    fitting = jobs.MAX_MESSAGE_CHARS // jobs.MAX_TEXT_CHARS
    for _ in range(fitting + 1):
        coalescer.add(text, None)
    coalescer.close()
    assert wire.sizes() == [fitting, 1]


def test_a_message_that_cannot_be_sent_fails_each_of_its_jobs_and_no_other() -> None:
    wire = Wire()
    coalescer = coalesce(wire, linger_s=LONG_S, max_batch=2)
    wire.error = errors.BrokerUnavailableError("Redis is away")
    lost = [coalescer.add("a", None), coalescer.add("b", None)]
    for handle in lost:
        with pytest.raises(errors.BrokerUnavailableError, match="Redis is away"):
            handle.result(LONG_S)
        assert handle.status == "failed"
    wire.error = None
    coalescer.add("c", None)
    coalescer.close()
    assert wire.sizes() == [1]


def test_an_outcome_that_came_before_the_sending_failed_stays_and_later_jobs_are_sent() -> None:
    wire = Wire()

    def send(draft: Draft) -> None:
        if draft.texts == ["a"]:
            draft.message.future.set_result(b"the outcome")
            msg = "Redis went away before it answered"
            raise errors.BrokerUnavailableError(msg)
        wire.send(draft)

    coalescer = Coalescer(send, lambda: "m", linger_s=0.0, max_batch=1)
    first = coalescer.add("a", None)
    coalescer.add("b", None)
    coalescer.close()
    assert first.done()
    assert wire.sizes() == [1]


def test_a_job_that_was_given_up_is_sent_only_with_others_that_are_not() -> None:
    wire = Wire()
    coalescer = coalesce(wire, linger_s=10 * LONG_S, max_batch=2)
    handles = [coalescer.add(str(place), None) for place in range(3)]
    eventually(lambda: wire.sizes() == [2], "the full message is sent")
    for handle in (handles[0], handles[2]):
        coalescer.give_up(handle)
    coalescer.close()
    assert wire.sizes() == [2]
    assert [handle.message.future.cancelled() for handle in handles] == [False, False, True]


def test_a_shared_message_goes_while_one_of_its_jobs_is_waited_for() -> None:
    wire = Wire()
    coalescer = coalesce(wire, linger_s=10 * LONG_S, max_batch=3)
    first, _ = coalescer.add("a", None), coalescer.add("b", None)
    coalescer.give_up(first)
    coalescer.close()
    assert wire.sizes() == [2]


def test_a_job_that_comes_after_all_others_were_given_up_is_sent() -> None:
    wire = Wire()
    coalescer = coalesce(wire, linger_s=10 * LONG_S, max_batch=3)
    late = coalescer.add("a", None)
    coalescer.give_up(late)
    coalescer.add("b", None)
    coalescer.close()
    assert [draft.texts for draft in wire.sent] == [["b"]]


def test_a_job_that_is_given_up_twice_counts_once() -> None:
    wire = Wire()
    coalescer = coalesce(wire, linger_s=10 * LONG_S, max_batch=3)
    first, _ = coalescer.add("a", None), coalescer.add("b", None)
    for _ in range(2):
        coalescer.give_up(first)
    coalescer.close()
    assert wire.sizes() == [2]


@pytest.mark.parametrize("max_batch", [0, jobs.MAX_TEXTS + 1])
def test_more_jobs_than_a_message_may_hold_are_refused_at_once(max_batch: int) -> None:
    with pytest.raises(errors.SettingsError, match=str(max_batch)):
        coalesce(Wire(), linger_s=0.0, max_batch=max_batch)
