"""The first signal asks, the second one insists."""

import os
import signal
import threading

import pytest

from pointsman_producer.deployment import signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_interrupts_and_the_second_kills(number: signal.Signals) -> None:
    killed, stopped = threading.Event(), threading.Event()
    with signals.stopping(stopped.set, killed.set) as came:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        assert not killed.is_set()
        os.kill(os.getpid(), number)
        assert killed.wait(5)
        assert not stopped.is_set()
    assert stopped.is_set()
    assert came == [number, number]


def test_a_signal_during_the_clean_stop_does_not_interrupt_it() -> None:
    killed = threading.Event()

    def stop() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        assert killed.wait(5)

    with signals.stopping(stop, killed.set):
        pass


def test_programs_are_stopped_after_an_error_too() -> None:
    stopped = threading.Event()
    with pytest.raises(OSError, match="broken"), signals.stopping(stopped.set, lambda: None):
        raise OSError("broken")
    assert stopped.is_set()


def test_afterwards_signals_do_what_they_did() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with signals.stopping(lambda: None, lambda: None):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
