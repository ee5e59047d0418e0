"""A trainer that is killed at any moment leaves a registry as it should be."""

import multiprocessing
import random
from pathlib import Path

import pytest

from pointsman_models import tiers, training
from pointsman_models.registry import Registry
from tests.support import tier_files

pytestmark = pytest.mark.slow

KILLS = 10


def train(folder: Path) -> None:
    """Train until killed, so that the kill finds a training whenever it comes."""
    while True:
        training.train(tiers.load(folder)["small"], Registry(str(folder / "registry")))


def test_ten_kills_at_random_moments_leave_a_consistent_registry(tmp_path: Path) -> None:
    tier = tier_files.small_tier(tmp_path, search="[tiers.small.gate]\nmargin = 0.9\n" + tier_files.SEARCH)
    registry = Registry(str(tmp_path / "registry"))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pointsman_models.training"])
    moment = random.Random(11)
    for _ in range(KILLS):
        process = context.Process(target=train, args=(tmp_path,))
        process.start()
        process.join(moment.uniform(0.3, 1.5))
        process.kill()
        process.join(20)
        for version in registry.versions("small"):
            assert registry.load_classifier("small", version).classify(["hello there"]).intent == ["greeting"]
        champions = [entry.champion for entry in registry.history("small")]
        assert registry.champion("small") == (champions[-1] if champions else None)
        assert set(champions) <= set(registry.versions("small"))
    trained = training.train(tier, registry)
    assert trained.promoted
    assert registry.champion("small") == trained.version
