"""The training task while its progress cannot be reported."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu.exceptions import OperationalError
from redis import Redis

from pointsman_shared import names
from pointsman_shared.settings import Settings
from pointsman_shared.wire import jobs
from pointsman_workers import bootstrap
from pointsman_workers.training import run
from pointsman_workers.training import task as training_task
from tests.support import live_tiers

DONE = jobs.TrainProgress(tier="base", stage="search", fraction=0.5)
REPLY = jobs.TrainReply.model_validate(
    {
        "tier": "base",
        "version": 1,
        "promoted": True,
        "reasons": [],
        "metrics": {},
        "pipeline": "p",
        "threshold": 0.5,
        "duration_s": 1.0,
        "warnings": [],
    }
)


class QuickTrainer(run.Trainer):
    """Reports how far it is, and ends."""

    def train(
        self, request: jobs.TrainRequest, report: Callable[[jobs.TrainProgress], None], check: Any
    ) -> jobs.TrainReply:
        report(DONE)
        return REPLY


@pytest.fixture
def train(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    monkeypatch.setattr(training_task, "Trainer", QuickTrainer)
    settings = Settings.model_validate({"redis_url": redis_url, "data_dir": live_tiers.write(tmp_path)})
    with bootstrap.training_app(settings) as app, contextlib.ExitStack() as after:
        task = app.tasks[names.TRAIN_TASK]
        task.push_request(id="run")
        task.request.after = after  # type: ignore[attr-defined]  # as `LedgerTask` does
        yield task
        task.pop_request()


def test_a_run_goes_on_when_redis_is_full(
    train: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def report_nowhere(*_: object, **__: object) -> None:
        with Redis.from_url(redis_url) as redis:
            redis.config_set("maxmemory", 1)
            try:
                update(*_, **__)
            finally:
                redis.config_set("maxmemory", 0)

    update = train.update_state
    monkeypatch.setattr(train, "update_state", report_nowhere)
    assert train.run({"tier": "base", "requested_by": "tests"})["version"] == 1


def test_a_run_goes_on_when_the_broker_takes_no_event(train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **fields: object) -> None:
        raise OperationalError

    monkeypatch.setattr(train, "send_event", refuse)
    assert train.run({"tier": "base", "requested_by": "tests"})["version"] == 1
