"""What the tasks of every application must promise; a task reads its settings once, when it is made."""

import pytest

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
