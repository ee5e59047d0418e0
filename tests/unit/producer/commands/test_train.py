"""What `pointsman train` says of a run that it does not wait for, asks to stop, or is interrupted at."""

import contextlib
import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pointsman_producer.client.handles import TaskHandle
from pointsman_producer.commands import command_line, screen
from pointsman_producer.commands.root import pointsman
from pointsman_shared import errors


class TrainingClient:
    """A client whose runs never end."""

    def __init__(self, run: str | None) -> None:
        self._run = run
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def train(self, tier: str, **options: Any) -> TaskHandle[Any]:
        self.asked.append((tier, options))
        return TaskHandle("run-1", lambda value: value, lambda _: None)

    def cancel_training(self, tier: str) -> str | None:
        self.asked.append((tier, {}))
        return self._run


def train(monkeypatch: pytest.MonkeyPatch, client: TrainingClient, *arguments: str) -> Result:
    monkeypatch.setattr(command_line, "connected", lambda: contextlib.nullcontext(client))
    return CliRunner().invoke(pointsman, ["train", "pro", *arguments])


def test_a_run_that_is_not_waited_for_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    client = TrainingClient("run-1")
    done = train(monkeypatch, client, "--no-wait", "--join", "--promote", "never", "--json")
    assert json.loads(done.stdout) == {"tier": "pro", "run": "run-1", "cancelled": False}
    ((tier, options),) = client.asked
    assert (tier, options["on_busy"], options["promote"]) == ("pro", "join", False)


@pytest.mark.parametrize(
    ("run", "said"),
    [("run-7", "run run-7 of tier pro was asked to stop"), (None, "tier pro has no training run")],
)
def test_a_run_is_asked_to_stop(monkeypatch: pytest.MonkeyPatch, run: str | None, said: str) -> None:
    done = train(monkeypatch, TrainingClient(run), "--cancel")
    assert (done.exit_code, said in done.output) == (0, True)
    shown = train(monkeypatch, TrainingClient(run), "--cancel", "--json")
    assert json.loads(shown.stdout) == {"tier": "pro", "run": run, "cancelled": run is not None}


def test_an_interruption_says_that_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(screen, "wait_for_training", interrupted)
    done = train(monkeypatch, TrainingClient(None))
    assert "the training run continues" in done.output
    assert done.exit_code != 0


def test_a_refusal_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        msg = "line 3: no text"
        raise errors.InvalidDataError(msg)

    monkeypatch.setattr(screen, "wait_for_training", refuse)
    done = train(monkeypatch, TrainingClient(None))
    assert isinstance(done.exception, errors.InvalidDataError)
    assert done.exit_code != 0
