"""What the tasks of every application must promise; a task reads its settings once, when it is made."""

import threading
from typing import Any

import pytest
from celery import signals

from pointsman_shared import names
from pointsman_shared.settings import Settings
from pointsman_workers import bootstrap
from pointsman_workers.delivery.task import WorkerApp

SERVED = {names.CLASSIFY_TASK, names.MODELS_TASK, names.SHADOW_QUERY_TASK, names.SHADOW_COMPARE_TASK}
APPS = {"serving": (bootstrap.serving_app, SERVED), "training": (bootstrap.training_app, {names.TRAIN_TASK})}


@pytest.fixture(params=APPS)
def app(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> WorkerApp:
    monkeypatch.setattr(bootstrap, "_connect", lambda *_: None)
    build, promised = APPS[request.param]
    app = build(Settings())
    assert promised <= set(app.tasks)
    return app


def test_a_message_is_acknowledged_when_its_outcome_is_stored(app: WorkerApp) -> None:
    ours = {name for name in app.tasks if name.startswith("pointsman.")}
    kept = {name for name in ours if app.tasks[name].acks_late and app.tasks[name].reject_on_worker_lost}
    # What is lost of shadow work is requested again.
    assert kept == ours - {names.SHADOW_TASK}


def test_a_task_ends_before_its_message_is_delivered_again(app: WorkerApp) -> None:
    again_s = app.conf.broker_transport_options["visibility_timeout"]
    for name, task in app.tasks.items():
        limits = (task.soft_time_limit or 0, task.time_limit or 0)
        assert 0 < limits[0] < limits[1] < again_s, name


def test_a_child_is_up_while_it_loads_its_models_and_its_first_message_waits_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handlers: dict[Any, Any] = {}
    loading, loaded = threading.Event(), threading.Event()

    def load(*_: object) -> str:
        loading.set()
        assert loaded.wait(30)
        return "models"

    monkeypatch.setattr(bootstrap, "_connect", handlers.__setitem__)
    monkeypatch.setattr(bootstrap.ServingParts, "_build", load)
    monkeypatch.setattr(bootstrap, "_watch_for_pauses", lambda: None)
    made: list[bootstrap.ServingParts] = []
    make = bootstrap.ServingParts

    def keep(settings: Settings) -> bootstrap.ServingParts:
        made.append(make(settings))
        return made[0]

    monkeypatch.setattr(bootstrap, "ServingParts", keep)
    bootstrap.serving_app(Settings())
    # Celery says that the child is up when this returns.
    handlers[signals.worker_process_init]()
    assert loading.wait(30)
    assert not made[0].process.is_built
    threading.Timer(0.05, loaded.set).start()
    assert made[0].process() == "models"  # type: ignore[comparison-overlap]  # the fake
