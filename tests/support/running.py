"""A real deployment of processes for integration tests: tiny models, a flag file that tests may rewrite."""

import contextlib
import functools
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pointsman_models.registry.versions import Registry
from pointsman_models.training import linear_models
from pointsman_producer.deployment import embedded_redis
from pointsman_producer.deployment.launcher import Deployment
from pointsman_producer.diagnostics import probe
from pointsman_shared import names
from pointsman_shared.settings import Settings
from pointsman_shared.store.connection import Store
from pointsman_workers.process.watched_registry import tell
from tests.support import flag_config, tiny
from tests.support.cards import card_of
from tests.support.deadlines import eventually

DATA = Path(__file__).parents[2] / "data"
TEMPERATURE = 3.0
THRESHOLD = 0.3
TIERS = {"base": tiny.BASE_INTENTS, "pro": tiny.PRO_INTENTS}
# Keys that the processes of a deployment write again and again.
LASTING = re.compile(rb".*:(process|pulse):")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A deployment and what the tests change in it."""

    deployment: Deployment
    registry: Registry
    log: list[str]

    @property
    def settings(self) -> Settings:
        """The settings of all its processes."""
        return self.deployment.settings

    def reset(self) -> None:
        """Bring back the state after the start, with the first versions; later ones stay in the registry, unused."""
        self.set_flags(flag_config.plan_flag(flag_config.TIER_FLAG, "pro"))
        for tier in TIERS:
            aliases = self.registry.aliases(tier)
            if aliases.champion != 1:
                self.registry.promote(tier, 1, "tests", "to start anew")
            if aliases.candidate is not None:
                # The champion is no rival of its own.
                self.registry.nominate(tier, 1, "tests", "to start anew")
        with Store.connect(self.settings) as store:
            eventually(
                lambda: all(_serves_first(process) for process in probe.processes(store)), "they serve"
            )
            for key in (*store.scan_iter(store.keys.prefix + "*"), *store.scan_iter(store.keys.queue("*"))):
                if not LASTING.match(key):
                    store.delete(key)

    def set_flags(self, document: Mapping[str, object]) -> None:
        """Replace the flag file in one step."""
        write_flags(self.settings.flags_file, document)


@contextlib.contextmanager
def deployment(
    folder: Path,
    *,
    workers: int = 2,
    beat: bool = False,
    redis_url: str | None = None,
    extra: Mapping[str, object] | None = None,
) -> Iterator[Running]:
    """Run serving workers and a trainer on a Redis, by default an embedded one; pro is for the plan `pro`."""
    settings = Settings.model_validate(
        {
            "registry_url": str(folder / "registry"),
            "data_dir": DATA,
            "flags_file": folder / "flags.json",
            **({"redis_url": redis_url} if redis_url else {}),
            **(extra or {}),
        }
    )
    registry = Registry(settings.registry_url)
    for tier, intents in TIERS.items():
        registry.promote(tier, keep(registry, tier, intents), "tests", "to have one")
    write_flags(settings.flags_file, flag_config.plan_flag(flag_config.TIER_FLAG, "pro"))
    log: list[str] = []
    with Deployment(
        settings,
        workers=workers,
        redis_port=None if redis_url else embedded_redis.free_port(),
        beat=beat,
        state_dir=folder / "state",
        say=lambda name, line: log.append(f"{name} {line}"),
    ) as running:
        running.wait_ready()
        with Store.connect(running.settings) as store:
            registry = Registry(settings.registry_url, on_change=functools.partial(tell, store))
            yield Running(deployment=running, registry=registry, log=log)


def _serves_first(process: Mapping[str, Any]) -> bool:
    return set(process["tiers"].values()) == {1}


def keep(registry: Registry, tier: str, intents: Sequence[str]) -> int:
    """Put a tiny model into a registry and give its version."""
    model = linear_models.from_pipeline(tiny.fitted((*intents, names.OUT_OF_SCOPE)))
    card = card_of(model, tier=tier, temperature=TEMPERATURE, threshold=THRESHOLD)
    return registry.save(tier, model, card).version


def write_flags(path: Path, document: Mapping[str, object]) -> None:
    """Replace a flag file in one step."""
    staged = path.with_suffix(".new")
    staged.write_text(json.dumps(document))
    os.replace(staged, path)
