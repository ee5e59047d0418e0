"""What `pointsman up --train` does while the deployment runs."""

from types import SimpleNamespace
from typing import Any

import pytest

from pointsman_producer.client.handles import TaskHandle
from pointsman_producer.commands import up
from pointsman_shared import errors
from pointsman_shared.settings import Settings
from tests.support.handles import answered


class TrainingClient:
    """A client whose trainings are refused."""

    def __init__(self, **_: object) -> None:
        self.asked: list[dict[str, Any]] = []

    def __enter__(self) -> "TrainingClient":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def models(self, action: str, **_: object) -> TaskHandle[Any]:
        return answered(LINES)

    def train(self, tier: str, **options: Any) -> TaskHandle[Any]:
        self.asked.append({"tier": tier, **options})
        msg = "line 3: no text"
        raise errors.InvalidDataError(msg)


LINES = [{"tier": tier, "champion": None} for tier in ("base", "pro")]


def test_a_refused_training_leaves_the_deployment_up_and_a_run_that_goes_on_is_joined(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = TrainingClient()
    monkeypatch.setattr(up, "Client", lambda **_: client)
    deployment: Any = SimpleNamespace(settings=Settings(), flower_url=None, workers=2)
    up.welcome(deployment, train_missing=True, as_json=False)
    assert [(asked["tier"], asked["on_busy"]) for asked in client.asked] == [
        ("base", "join"),
        ("pro", "join"),
    ]
    said = capsys.readouterr().err
    assert [line for line in said.splitlines() if line.startswith("not trained")] == [
        "not trained tier base: line 3: no text",
        "not trained tier pro: line 3: no text",
    ]
    assert "pointsman train pro" in said
