"""When a worker that does not hear from its queues any more ends."""

from pointsman_shared.store import heartbeat
from pointsman_workers.delivery.ledger import LedgerUnavailableError
from pointsman_workers.process.heartbeat import Pulse

DEAF_S = heartbeat.DEAF_AFTER_S


class Book:
    def __init__(self) -> None:
        self.heard: list[tuple[str, float]] = []
        self.is_away = False

    def beat(self, node: str, heard_at: float, ttl_s: float) -> None:
        if self.is_away:
            raise LedgerUnavailableError
        self.heard.append((node, heard_at))


class Worker:
    def __init__(self) -> None:
        self.book, self.heard_at, self.ends = Book(), 1_000.0, 0
        self.pulse = Pulse("serving@here", self.book, lambda: self.heard_at, self._end)

    def _end(self) -> None:
        self.ends += 1


def test_a_worker_that_hears_from_its_queues_says_so() -> None:
    worker = Worker()
    worker.pulse.beat(1_001)
    assert (worker.book.heard, worker.ends) == ([("serving@here", 1_000.0)], 0)


def test_a_worker_that_was_deaf_for_long_while_redis_answered_ends() -> None:
    worker = Worker()
    worker.pulse.beat(1_000 + DEAF_S)
    worker.pulse.beat(1_000 + 2 * DEAF_S - 1)
    assert worker.ends == 0
    worker.pulse.beat(1_000 + 2 * DEAF_S)
    assert worker.ends == 1


def test_the_time_in_which_redis_is_away_does_not_count() -> None:
    worker = Worker()
    worker.pulse.beat(1_000 + DEAF_S)
    worker.book.is_away = True
    worker.pulse.beat(1_000 + 9 * DEAF_S)
    worker.book.is_away = False
    worker.pulse.beat(1_000 + 9 * DEAF_S + 1)
    assert worker.ends == 0


def test_a_worker_that_hears_again_starts_afresh() -> None:
    worker = Worker()
    worker.pulse.beat(1_000 + DEAF_S)
    worker.heard_at = 1_000 + DEAF_S
    worker.pulse.beat(1_001 + DEAF_S)
    worker.heard_at = 0
    worker.pulse.beat(1_000 + 2 * DEAF_S)
    assert worker.ends == 0
