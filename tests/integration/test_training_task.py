"""The training task while nobody can be told how far it is."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kombu.exceptions import OperationalError
from redis import Redis

from pointsman_shared import names
from pointsman_shared.broker import config as broker_config
from pointsman_shared.settings import Settings
from pointsman_shared.wire import jobs
from pointsman_workers import bootstrap
from pointsman_workers.serving import task as serving_task
from tests.support.redis_server import RedisServer

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


@pytest.fixture(scope="module")
def train(redis_server: RedisServer) -> Iterator[Any]:
    with broker_config.make_app(Settings.model_validate({"redis_url": redis_server.url})) as app:
        serving_task.register_training(app)
        task = app.tasks[names.TRAIN_TASK]
        task.push_request(id="run")
        yield task
        task.pop_request()


@pytest.fixture(autouse=True)
def _trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "trainer", Trainer)


def test_a_run_goes_on_when_redis_is_full(train: Any, redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        redis.config_set("maxmemory", 1)
        try:
            assert train.run({"tier": "base", "requested_by": "tests"})["version"] == 1
        finally:
            redis.config_set("maxmemory", 0)


def test_a_run_goes_on_when_the_broker_takes_no_event(train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **fields: object) -> None:
        raise OperationalError

    monkeypatch.setattr(train, "send_event", refuse)
    assert train.run({"tier": "base", "requested_by": "tests"})["version"] == 1
