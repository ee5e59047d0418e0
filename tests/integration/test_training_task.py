"""The training task with a Redis that takes nothing more."""

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from pointsman_shared import broker, jobs, names
from pointsman_shared.settings import Settings
from pointsman_workers import composition, tasks

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


class Trainer:
    """Says how far it is, and ends."""

    def train(
        self, request: jobs.TrainRequest, run: str, report: Callable[[jobs.TrainProgress], None]
    ) -> Any:
        report(DONE)
        return REPLY


def test_a_run_goes_on_when_its_progress_cannot_be_told(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composition, "trainer", Trainer)
    settings = Settings.model_validate({"redis_url": redis_url})
    with broker.make_app(settings) as app, Redis.from_url(redis_url) as redis:
        tasks.register_training(app)
        train = app.tasks[names.TRAIN_TASK]
        train.push_request(id="run")
        redis.config_set("maxmemory", 1)
        try:
            reply = train.run({"tier": "base", "requested_by": "tests"})
        finally:
            redis.config_set("maxmemory", 0)
            train.pop_request()
    assert (reply["tier"], reply["version"]) == ("base", 1)
