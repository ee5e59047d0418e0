"""When a worker that does not hear from its queues any more ends."""

from pointsman_shared import errors
from pointsman_shared.store import heartbeat
from pointsman_workers.process.heartbeat import Heartbeat

DEAF_S = heartbeat.DEAF_AFTER_S


class Book:
    def __init__(self) -> None:
        self.heard: list[float] = []
        self.is_away = False

    def beat(self, heard_at: float) -> None:
        if self.is_away:
            raise errors.BrokerUnavailableError
        self.heard.append(heard_at)


class Worker:
    def __init__(self) -> None:
        self.book, self.heard_at, self.ends = Book(), 1_000.0, 0
        self.pulse = Heartbeat(self.book.beat, lambda: self.heard_at, self._end)

    def _end(self) -> None:
        self.ends += 1


def test_a_worker_that_hears_from_its_queues_says_so() -> None:
    worker = Worker()
    worker.pulse.step(1_001)
    assert (worker.book.heard, worker.ends) == ([1_000.0], 0)


def test_a_worker_that_was_deaf_for_long_while_redis_answered_ends() -> None:
    worker = Worker()
    worker.pulse.step(1_000 + DEAF_S)
    worker.pulse.step(1_000 + 2 * DEAF_S - 1)
    assert worker.ends == 0
    worker.pulse.step(1_000 + 2 * DEAF_S)
    assert worker.ends == 1


def test_the_time_in_which_redis_is_away_does_not_count() -> None:
    worker = Worker()
    worker.pulse.step(1_000 + DEAF_S)
    worker.book.is_away = True
    worker.pulse.step(1_000 + 9 * DEAF_S)
    worker.book.is_away = False
    worker.pulse.step(1_000 + 9 * DEAF_S + 1)
    assert worker.ends == 0


def test_a_worker_that_hears_again_starts_afresh() -> None:
    worker = Worker()
    worker.pulse.step(1_000 + DEAF_S)
    worker.heard_at = 1_000 + DEAF_S
    worker.pulse.step(1_001 + DEAF_S)
    worker.heard_at = 0
    worker.pulse.step(1_000 + 2 * DEAF_S)
    assert worker.ends == 0
