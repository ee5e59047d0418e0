"""Which events a worker sends."""

from typing import Any

import pytest
from celery.events import EventDispatcher

from pointsman_workers.delivery import channel, events


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(EventDispatcher, "__init__", lambda _: None)
    monkeypatch.setattr(EventDispatcher, "send", lambda _, kind, *__, **___: found.append(kind))
    monkeypatch.setattr(channel, "listeners", {})
    return found


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [1_000.0]
    monkeypatch.setattr("pointsman_workers.delivery.events.time.monotonic", lambda: clock[0])
    return clock


def test_of_tasks_nobody_listens_to_one_event_a_second_is_sent(sent: list[str], at: list[float]) -> None:
    dispatcher: Any = events.Dispatcher()
    for kind in ("task-received", "task-started", "worker-heartbeat", "task-succeeded"):
        dispatcher.send(kind, uuid="u")
    assert sent == ["task-received", "worker-heartbeat"]
    at[0] += 1.5
    dispatcher.send("task-received")
    dispatcher.send("task-started")
    assert sent[2:] == ["task-received"]


@pytest.mark.parametrize("group", ["task", "worker"])
def test_while_somebody_listens_every_event_is_sent(sent: list[str], at: list[float], group: str) -> None:
    assert at
    dispatcher: Any = events.Dispatcher()
    dispatcher.send("task-received")
    channel.listeners.update({"task": 0, "worker": 0, group: 1})
    for _ in range(3):
        dispatcher.send("task-started")
    assert sent == ["task-received", *["task-started"] * 3]
    channel.listeners[group] = 0
    dispatcher.send("task-started")
    assert sent == ["task-received", *["task-started"] * 3]
