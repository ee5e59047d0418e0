"""A real deployment of processes for integration tests: tiny models, a flag file that tests may rewrite."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pointsman_models.registry.card import Card, library_versions
from pointsman_models.registry.versions import Registry
from pointsman_producer.deployment import embedded_redis
from pointsman_producer.deployment.launcher import Deployment
from pointsman_shared import names
from pointsman_shared.settings import Settings
from tests.support import flag_config, tiny

DATA = Path(__file__).parents[2] / "data"
TEMPERATURE = 3.0
THRESHOLD = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A deployment and the things tests turn on it."""

    deployment: Deployment
    registry: Registry
    log: list[str]

    @property
    def settings(self) -> Settings:
        """The settings of all its processes."""
        return self.deployment.settings

    def set_flags(self, document: Mapping[str, object]) -> None:
        """Replace the flag file in one step."""
        write_flags(self.settings.flags_file, document)


@contextlib.contextmanager
def deployment(
    folder: Path, *, workers: int = 2, beat: bool = False, extra: Mapping[str, object] | None = None
) -> Iterator[Running]:
    """Run an embedded Redis, serving workers and a trainer; pro is for the plan `pro`."""
    settings = Settings.model_validate(
        {
            "registry_url": str(folder / "registry"),
            "data_dir": DATA,
            "flags_file": folder / "flags.json",
            **(extra or {}),
        }
    )
    registry = Registry(settings.registry_url)
    for tier, intents in ((names.BASE_TIER, tiny.BASE_INTENTS), (names.PRO_TIER, tiny.PRO_INTENTS)):
        registry.promote(tier, keep(registry, tier, intents), "tests", "to have one")
    write_flags(settings.flags_file, flag_config.plan_flag(names.TIER_FLAG, "pro"))
    log: list[str] = []
    with Deployment(
        settings,
        workers=workers,
        redis_port=embedded_redis.free_port(),
        beat=beat,
        state_dir=folder / "state",
        say=lambda name, line: log.append(f"{name} {line}"),
    ) as running:
        running.wait_ready()
        yield Running(deployment=running, registry=registry, log=log)


def keep(registry: Registry, tier: str, intents: Sequence[str]) -> int:
    """Put a tiny model into a registry and give its version."""
    pipeline = tiny.fitted((*intents, names.OUT_OF_SCOPE))
    card = Card(
        tier=tier,
        created_at="2026-01-01T00:00:00+00:00",
        requested_by="tests",
        duration_s=0.0,
        pipeline="tiny",
        parameters={},
        intents=tuple(intents),
        classes=tuple(np.asarray(pipeline.classes_).tolist()),
        temperature=TEMPERATURE,
        threshold=THRESHOLD,
        metrics={},
        per_intent={},
        data=(),
        examples={},
        seed=0,
        libraries=library_versions(),
    )
    return registry.save(tier, pipeline, card).version


def write_flags(path: Path, document: Mapping[str, object]) -> None:
    """Replace a flag file in one step."""
    staged = path.with_suffix(".new")
    staged.write_text(json.dumps(document))
    os.replace(staged, path)
