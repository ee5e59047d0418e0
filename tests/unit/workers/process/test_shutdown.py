"""A process that does not end when asked is killed."""

import signal
import threading
from collections.abc import Iterator

import pytest

from pointsman_workers.process import shutdown
from tests.support.deadlines import eventually


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    monkeypatch.setenv("REMAP_SIGTERM", "SIGQUIT")
    heard: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGQUIT)}
    for number in before:
        signal.signal(number, lambda number, _: heard.append(number))
    yield heard
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_process_that_does_not_end_by_itself_is_ended(heard: list[int], number: signal.Signals) -> None:
    ended = threading.Event()
    shutdown.leave_in_time(ended.set, patience_s=0.01)
    signal.raise_signal(number)
    eventually(ended.is_set, "it was ended")
    assert heard == [number]


def test_a_worker_that_may_finish_its_work_is_left_alone(
    heard: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REMAP_SIGTERM")
    before = signal.getsignal(signal.SIGTERM)
    shutdown.leave_in_time(lambda: None)
    assert signal.getsignal(signal.SIGTERM) is before
