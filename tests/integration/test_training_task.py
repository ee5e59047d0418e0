"""The training task while its progress cannot be reported."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu.exceptions import OperationalError
from redis import Redis

from pointsman_shared import errors, names
from pointsman_shared.settings import Settings
from pointsman_shared.store.connection import Store
from pointsman_shared.store.dead_letters import DeadLetter
from pointsman_shared.wire import jobs
from pointsman_workers import bootstrap
from pointsman_workers.training import run
from pointsman_workers.training import task as training_task
from tests.support import live_tiers
from tests.support.default_keys import keys

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
    monkeypatch.setattr(run, "Trainer", QuickTrainer)
    settings = Settings.model_validate({"redis_url": redis_url, "data_dir": live_tiers.write(tmp_path)})
    with bootstrap.training_app(settings) as app, contextlib.ExitStack() as after:
        task = app.tasks[names.TRAIN_TASK]
        task.push_request(id="run")
        task.request.after = after  # type: ignore[attr-defined]  # as `LedgerTask` does
        yield task
        task.pop_request()


def state(settings: Settings) -> Any:
    with Store.connect(settings) as store:
        return json.loads(store.get(keys.result("run")) or b"{}").get("status")


def test_a_run_goes_on_when_redis_is_full(train: Any, redis_url: str, settings: Settings) -> None:
    train.ledger.attempt("run", worker="here")
    with Redis.from_url(redis_url) as redis:
        redis.config_set("maxmemory", 1)
        try:
            training_task._reporter(train.app, train)(DONE)
        finally:
            redis.config_set("maxmemory", 0)
    assert state(settings) is None


def test_a_late_report_leaves_the_outcome_as_it_is(train: Any, settings: Settings) -> None:
    train.ledger.attempt("run", worker="here")
    report = training_task._reporter(train.app, train)
    report(DONE)
    assert state(settings) == "PROGRESS"
    letter = DeadLetter(id="run", reason="failed", error="e", detail="d", queue="", retryable=True)
    train.ledger.fail(letter, errors.BusyError("no"), keep=False)
    report(DONE)
    assert state(settings) == "FAILURE"


def test_a_run_goes_on_when_the_broker_takes_no_event(train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **fields: object) -> None:
        raise OperationalError

    monkeypatch.setattr(train, "send_event", refuse)
    assert train.run({"tier": "base", "requested_by": "tests"})["version"] == 1
