"""The first signal asks, the second one insists."""

import os
import signal
import threading

import pytest

from pointsman_producer.deployment.signals import Interrupts


class Kill:
    """Remembers whether it was called."""

    def __init__(self) -> None:
        self.called = threading.Event()

    def __call__(self) -> None:
        self.called.set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_interrupts_and_the_second_kills(number: signal.Signals) -> None:
    kill = Kill()
    with Interrupts(kill) as interrupts:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        assert not kill.called.is_set()
        os.kill(os.getpid(), number)
        assert kill.called.wait(5)
    assert interrupts.count == 2


def test_a_signal_during_the_clean_stop_does_not_interrupt_it() -> None:
    kill = Kill()
    with Interrupts(kill) as interrupts:
        interrupts.ending()
        os.kill(os.getpid(), signal.SIGTERM)
        assert kill.called.wait(5)


def test_afterwards_signals_do_what_they_did() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts(Kill()):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
