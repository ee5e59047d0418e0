"""The shadow is a room: a serving worker without the room and its name does everything else."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import pointsman_workers
from pointsman_models.registry.versions import Registry
from pointsman_producer.client.client import Client
from pointsman_shared import names
from pointsman_shared.settings import Settings
from tests.support import flag_config, running
from tests.support.deadlines import eventually

TIMEOUT_S = 60
BUILD = """
import json, sys
from pointsman_shared.settings import Settings
from pointsman_workers import bootstrap
app = getattr(bootstrap, sys.argv[1])(Settings.from_env())
found = {"tasks": sorted(app.tasks), "modules": sorted(sys.modules), "file": bootstrap.__file__}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the workers' package, from which the shadow is deleted, and its name."""
    folder = tmp_path_factory.mktemp("without-shadow")
    package = folder / "pointsman_workers"
    shutil.copytree(Path(pointsman_workers.__file__).parent, package)
    shutil.rmtree(package / "shadow")
    bootstrap = package / "bootstrap.py"
    before = bootstrap.read_text(encoding="utf-8")
    after = before.replace(', "shadow")', ")")
    assert before.count('"shadow"') == 2
    assert '"shadow"' not in after
    bootstrap.write_text(after, encoding="utf-8")
    return folder


def environ(copy: Path, settings: Settings) -> Mapping[str, str]:
    return {**os.environ, **settings.environ(), "PYTHONPATH": str(copy)}


@pytest.mark.parametrize(
    ("app", "task"),
    [
        ("serving_app", names.CLASSIFY_TASK),
        pytest.param("training_app", names.TRAIN_TASK, marks=pytest.mark.slow),
    ],
)
def test_an_application_is_built_without_the_shadow(copy: Path, app: str, task: str) -> None:
    settings = Settings.model_validate({"data_dir": running.DATA})
    done = subprocess.run(
        [sys.executable, "-c", BUILD, app],
        env=environ(copy, settings),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["file"].startswith(str(copy))
    assert {task, names.MODELS_TASK} <= set(found["tasks"])
    assert [name for name in found["tasks"] if name.startswith(names.SHADOW_TASK)] == []
    assert [name for name in found["modules"] if name.startswith("pointsman_workers.shadow")] == []


def test_a_worker_without_the_shadow_classifies(copy: Path, redis_url: str, tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            "redis_url": redis_url,
            "registry_url": str(tmp_path / "registry"),
            "data_dir": running.DATA,
            "flags_file": tmp_path / "flags.json",
        }
    )
    registry = Registry(settings.registry_url)
    for tier, intents in running.TIERS.items():
        registry.promote(tier, running.keep(registry, tier, intents), "tests", "to have one")
    document = flag_config.plan_flag(flag_config.TIER_FLAG, "pro")
    # Nothing reads it any more.
    document["f"][names.SHADOW_FLAG] = flag_config.flag(1.0)
    running.write_flags(settings.flags_file, document)
    log = tmp_path / "worker.log"
    command = ["-m", "celery", "-A", "pointsman_workers.app", "worker", "-c", "1", "-n", "serving@here"]
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, *command, "--loglevel", "INFO"],
            env=environ(copy, settings),
            cwd=tmp_path,
            stdout=output,
            stderr=output,
        )
    try:
        eventually(lambda: b"serving@here ready" in log.read_bytes(), "the worker is ready", TIMEOUT_S)
        with Client(settings=settings) as client:
            outcomes = [client.classify(text, timeout_s=TIMEOUT_S) for text in ("hi", "bye")]
    finally:
        worker.terminate()
        worker.wait(TIMEOUT_S)
    assert [(outcome.tier, outcome.intent) for outcome in outcomes] == [
        ("base", "greeting"),
        ("base", "goodbye"),
    ]
    assert b"Traceback" not in log.read_bytes()
