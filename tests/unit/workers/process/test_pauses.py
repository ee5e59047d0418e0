"""When a process stood still, and when it was only busy."""

import os
import subprocess
import sys

import psutil
import pytest

from pointsman_workers.process.pauses import Pauses, is_stopped
from tests.support.deadlines import eventually


class Times:
    """Clocks that a test turns."""

    def __init__(self) -> None:
        self.now, self.used = 100.0, 10.0

    def pass_by(self, seconds: float, used: float = 0.0) -> None:
        self.now, self.used = self.now + seconds, self.used + used


@pytest.mark.parametrize(
    ("seconds", "used", "stood_still"),
    [(3.0, 0.0, False), (3.5, 0.0, True), (60.0, 29.0, True), (60.0, 31.0, False)],
)
def test_a_gap_without_use_of_the_processor_is_a_pause(
    seconds: float, used: float, stood_still: bool
) -> None:
    times = Times()
    pauses = Pauses(lambda: times.now, lambda: times.used)
    started = times.now
    for _ in range(5):
        times.pass_by(1.0)
        pauses.tick()
    assert not pauses.since(started)
    times.pass_by(seconds, used)
    assert pauses.since(started) is stood_still


def test_a_pause_counts_for_what_ran_then_and_for_nothing_later() -> None:
    times = Times()
    pauses = Pauses(lambda: times.now, lambda: times.used)
    before = times.now
    times.pass_by(60.0)
    pauses.tick()
    times.pass_by(1.0)
    assert pauses.since(before)
    assert not pauses.since(times.now)


def test_the_system_tells_that_another_process_is_stopped() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert not is_stopped(child.pid)
        psutil.Process(child.pid).suspend()
        eventually(lambda: is_stopped(child.pid), "it is stopped")
        child.kill()
    assert not is_stopped(child.pid)
    assert not is_stopped(os.getpid())
