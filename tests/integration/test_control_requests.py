"""Requests that people make of a deployment: a failed one is answered, and nothing of it is kept."""

from pathlib import Path
from typing import Any

import pytest
from celery import signals

from pointsman_models.registry.versions import Registry
from pointsman_shared import errors, names
from pointsman_shared.settings import Settings
from pointsman_shared.wire import jobs
from pointsman_workers import bootstrap
from pointsman_workers.process.declared import DeclaredTiers
from pointsman_workers.registry.commands import Commands
from tests.support import ledgers, live_tiers, running

QUESTION = {"reason": "tests", "by": "tests"}


@pytest.mark.parametrize(
    ("task", "request_"),
    [
        (names.MODELS_TASK, {"action": "promote", "tier": "base", "version": 99, **QUESTION}),
        (names.MODELS_TASK, {"action": "rollback", "tier": "base", **QUESTION}),
        (names.MODELS_TASK, {"action": "show", "tier": "base", "version": 99}),
        (names.TRAIN_TASK, {"tier": "nosuch", "requested_by": "tests"}),
        (names.SHADOW_QUERY_TASK, {"action": "nosuch"}),
        (names.SHADOW_COMPARE_TASK, {}),
    ],
)
def test_a_request_that_failed_has_an_outcome_and_leaves_no_dead_letter(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, request_: Any
) -> None:
    handlers: dict[Any, Any] = {}
    monkeypatch.setattr(bootstrap, "_connect", handlers.__setitem__)
    settings = settings.model_copy(
        update={"data_dir": live_tiers.write(tmp_path), "registry_url": str(tmp_path / "registry")}
    )
    with bootstrap.training_app(settings) as app:
        app.tasks[task].push_request(id="typo")
        with pytest.raises(errors.PermanentError):
            app.tasks[task](request_)
        app.tasks[task].pop_request()
        handlers[signals.worker_process_shutdown]()
    assert ledgers.stored(settings, "typo")["dead_letter"] is None
    assert ledgers.open_letters(settings).count() == 0


def test_a_broken_version_is_named_and_the_others_are_listed(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path))
    for _ in range(3):
        running.keep(registry, "base", ["greeting"])
    (tmp_path / "base" / "2" / "card.json").write_text("{")
    declared = DeclaredTiers(running.DATA / "tiers.toml")
    lines = Commands(registry, declared, lambda *_: None).answer(jobs.ModelsQuery(action="list", tier="base"))
    assert [(line["version"], line["problem"] is None) for line in lines] == [
        (1, True),
        (2, False),
        (3, True),
    ]
    assert "card.json" in lines[1]["problem"]
