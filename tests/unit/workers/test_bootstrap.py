"""What every application of the workers must promise."""

from collections.abc import Callable

import pytest

from pointsman_shared import names
from pointsman_shared.settings import Settings
from pointsman_workers import bootstrap
from pointsman_workers.delivery.task import WorkerApp

SERVED = {names.CLASSIFY_TASK, names.MODELS_TASK, names.SHADOW_QUERY_TASK, names.SHADOW_COMPARE_TASK}
TRAINED = {names.TRAIN_TASK}


@pytest.mark.parametrize(
    ("build", "promised"), [(bootstrap.serving_app, SERVED), (bootstrap.training_app, TRAINED)]
)
def test_a_message_is_acknowledged_when_its_outcome_is_stored(
    build: Callable[[Settings], WorkerApp], promised: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task reads it from the settings once, so they must be there first: else a killed worker takes messages along."""
    monkeypatch.setattr(bootstrap, "_connect", lambda *_: None)
    app = build(Settings())
    ours = {name: task for name, task in app.tasks.items() if name.startswith("pointsman.")}
    assert promised <= set(ours)
    kept = {name for name, task in ours.items() if task.acks_late and task.reject_on_worker_lost}
    assert kept == set(ours) - {names.SHADOW_TASK}
