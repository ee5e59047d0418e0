"""A candidate that keeps failing is left alone for a while, by all processes."""

import pytest

from pointsman_workers.shadow import circuit_breaker
from pointsman_workers.shadow.circuit_breaker import CircuitBreaker, State


class Book:
    def __init__(self) -> None:
        self.states: dict[str, State] = {}

    def troubles(self) -> dict[str, State]:
        return dict(self.states)

    def trouble(self, version: str, state: State | None) -> None:
        if state is None:
            self.states.pop(version, None)
        else:
            self.states[version] = state


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book() -> Book:
    return Book()


def fail(one: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        assert one.refusal("pro@8") is None
        one.failed("pro@8", "ValueError")


def test_after_three_failures_in_a_row_a_version_is_paused_for_all_processes(
    book: Book, clock: Clock
) -> None:
    one, other = CircuitBreaker(book, clock=clock), CircuitBreaker(book, clock=clock)
    fail(one, 3)
    assert one.refusal("pro@8") == other.refusal("pro@8") == "paused_ValueError"
    assert one.refusal("pro@9") is None


def test_failures_of_processes_that_end_over_them_add_up(book: Book, clock: Clock) -> None:
    for _ in range(2):
        CircuitBreaker(book, clock=clock).failed("pro@8", "process_lost", 2)
    assert CircuitBreaker(book, clock=clock).refusal("pro@8") == "paused_process_lost"


def test_a_success_between_failures_keeps_it_going(book: Book, clock: Clock) -> None:
    one = CircuitBreaker(book, clock=clock)
    for _ in range(5):
        fail(one, 2)
        one.succeeded("pro@8")
    assert one.refusal("pro@8") is None
    assert not book.states


def test_a_grave_failure_pauses_it_at_once(book: Book, clock: Clock) -> None:
    one = CircuitBreaker(book, clock=clock)
    one.failed("pro@8", "too_slow", circuit_breaker.TRIP)
    assert one.refusal("pro@8") == "paused_too_slow"


def test_after_the_pause_one_process_tries_and_its_success_counts_for_all(book: Book, clock: Clock) -> None:
    one, other = CircuitBreaker(book, clock=clock), CircuitBreaker(book, clock=clock)
    fail(one, 3)
    clock.now += circuit_breaker.PAUSE_S
    assert one.refusal("pro@8") is None
    assert other.refusal("pro@8") is not None
    one.succeeded("pro@8")
    clock.now += circuit_breaker.LOOK_S
    assert other.refusal("pro@8") is None


def test_each_further_failure_doubles_the_pause_up_to_a_limit(book: Book, clock: Clock) -> None:
    one = CircuitBreaker(book, clock=clock)
    fail(one, 3)
    pauses = []
    for _ in range(8):
        pauses.append(book.states["pro@8"]["until"] - clock.now)
        clock.now = book.states["pro@8"]["until"]
        fail(one, 1)
    assert pauses == [30, 60, 120, 240, 480, 900, 900, 900]
