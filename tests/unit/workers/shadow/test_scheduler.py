"""When a worker calls for shadow work."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest
from celery.worker import state

from pointsman_shared import names
from pointsman_workers.shadow import scheduler, task
from pointsman_workers.shadow.backlog import Look
from pointsman_workers.shadow.scheduler import Activity, Scheduler

WORK = Look(ready=3, calls=0, users=0)
IDLE = Activity(serving=0, served=0, interactive=0, shadowing=0)


class Worker:
    """A worker's caller with everything around it in the test's hands."""

    def __init__(self, *, yields: bool = True, most: int = 1) -> None:
        self.now = 0.0
        self.state = WORK
        self.activity = IDLE
        self.calls: list[bool] = []
        self._scheduler = Scheduler(
            self,
            self.calls.append,
            lambda: self.activity,
            yields=yields,
            most=most,
            clock=lambda: self.now,
        )

    def look(self) -> Look:
        return self.state

    def step(self, after_s: float = scheduler.BUSY_S) -> list[bool]:
        self.now += after_s
        before = len(self.calls)
        self._scheduler.step()
        return self.calls[before:]


def test_an_idle_worker_calls_for_work_and_for_no_second_one_before_the_first_was_taken() -> None:
    worker = Worker()
    assert worker.step() == [False]
    worker.state = replace(WORK, calls=1)
    assert worker.step() == []
    worker.state, worker.activity = WORK, replace(IDLE, shadowing=1)
    assert worker.step() == []


def test_without_work_nothing_is_called_for() -> None:
    worker = Worker()
    worker.state = replace(WORK, ready=0)
    assert worker.step() == []


@pytest.mark.parametrize(
    "busy",
    [replace(IDLE, serving=1, interactive=1), replace(IDLE, served=7, interactive=1)],
    ids=["in hand", "since the last look"],
)
def test_nothing_is_called_for_while_users_are_served(busy: Activity) -> None:
    worker = Worker()
    worker.activity = busy
    assert worker.step() == []
    worker.activity = replace(busy, serving=0)
    # Left alone since the last look.
    assert worker.step() == [False]


def test_where_users_never_leave_it_alone_one_part_is_done_now_and_then() -> None:
    worker = Worker()
    briefs = []
    for number in range(200):
        worker.activity = Activity(serving=1, served=number + 1, interactive=number + 1, shadowing=0)
        briefs += worker.step(0.05)
    assert briefs in ([True] * 4, [True] * 5)


def test_a_part_is_done_as_soon_as_the_worker_has_been_patient() -> None:
    worker = Worker()
    worker.activity = Activity(serving=1, served=1, interactive=1, shadowing=0)
    assert worker.step(scheduler.PATIENCE_S) == [True]
    worker.activity = Activity(serving=1, served=2, interactive=2, shadowing=0)
    assert worker.step(scheduler.PATIENCE_S / 2) == []


def test_between_bulk_messages_that_need_not_wait_short_parts_are_done() -> None:
    worker = Worker()
    worker.activity = replace(IDLE, serving=2, served=9)
    assert worker.step() == [True]
    worker.state = replace(WORK, users=1)
    assert worker.step() == []


def test_nothing_is_called_for_while_users_wait_in_a_queue_however_long() -> None:
    worker = Worker()
    worker.state = replace(WORK, users=1)
    assert [worker.step(10) for _ in range(5)] == [[]] * 5


class Taking(list[object]):
    """Messages of which one more is taken while they are counted."""

    def __iter__(self) -> Iterator[object]:
        msg = "Set changed size during iteration"
        raise RuntimeError(msg)


def test_a_worker_that_takes_a_message_while_it_looks_counts_as_serving(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = [SimpleNamespace(name=names.CLASSIFY_TASK), SimpleNamespace(name=names.SHADOW_TASK)]
    monkeypatch.setattr(state, "total_count", Counter({names.CLASSIFY_TASK: 5, names.SHADOW_TASK: 2}))
    monkeypatch.setattr(state, "reserved_requests", held)
    found = task.activity()
    assert (found.serving, found.served, found.shadowing) == (1, 5, 1)
    monkeypatch.setattr(state, "reserved_requests", Taking())
    assert task.activity().serving == 1


def test_a_worker_that_only_does_shadow_work_does_it_whatever_goes_on() -> None:
    worker = Worker(yields=False, most=2)
    worker.state, worker.activity = replace(WORK, users=9), replace(IDLE, shadowing=1)
    assert worker.step() == [False]
    worker.activity = replace(IDLE, shadowing=2)
    assert worker.step() == []
