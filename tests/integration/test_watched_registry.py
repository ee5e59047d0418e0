"""How often serving reads the registry, with the signs of changes in a real Redis."""

from pathlib import Path

import pytest
from redis import Redis

from pointsman_models.registry.aliases import Aliases
from pointsman_models.registry.versions import Registry
from pointsman_shared import errors
from pointsman_shared.settings import Settings
from pointsman_shared.store.connection import Store
from pointsman_workers.process.watched_registry import WatchedRegistry, tell
from tests.support import tiny
from tests.support.default_keys import keys
from tests.support.running import keep


class CountingRegistry(Registry):
    """A registry that counts the questions for its aliases, and may be away."""

    asked = 0
    away = False

    def aliases(self, tier: str) -> Aliases:
        self.asked += 1
        if self.away:
            msg = "the bucket is away"
            raise errors.UnavailableError(msg)
        return super().aliases(tier)


@pytest.fixture
def registry(tmp_path: Path) -> CountingRegistry:
    registry = CountingRegistry(str(tmp_path))
    for _ in range(2):
        keep(registry, "base", tiny.BASE_INTENTS)
    registry.promote("base", 1, "tests", "to have one")
    registry.asked = 0
    return registry


@pytest.fixture
def watched(registry: CountingRegistry, store: Store) -> WatchedRegistry:
    return WatchedRegistry(registry, lambda: store, fresh_s=0)


def test_the_registry_is_read_once_while_nothing_changes(
    registry: CountingRegistry, watched: WatchedRegistry
) -> None:
    assert [watched.champion("base") for _ in range(50)] == [1] * 50
    assert registry.asked == 1


def test_a_change_announced_in_redis_is_read_once_by_each_process(
    registry: CountingRegistry, store: Store, tmp_path: Path
) -> None:
    processes = [WatchedRegistry(registry, lambda: store, fresh_s=0) for _ in range(3)]
    changing = Registry(str(tmp_path), on_change=lambda tier: tell(store, tier))
    for process in processes:
        process.champion("base")
    changing.promote("base", 2, "tests", "newer")
    changing.nominate("base", 1, "tests", "to compare")
    registry.asked = 0
    for _ in range(5):
        assert {process.aliases("base") for process in processes} == {
            Aliases(champion=2, candidate=1, change=3)
        }
    assert registry.asked == 3


def test_a_change_not_announced_in_redis_is_found_by_one_process_which_announces_it(
    registry: CountingRegistry, store: Store, redis: Redis
) -> None:
    first, second = (WatchedRegistry(registry, lambda: store, fresh_s=0) for _ in range(2))
    assert (first.champion("base"), second.champion("base")) == (1, 1)
    registry.promote("base", 2, "tests", "without Redis")
    assert first.champion("base") == 1
    redis.delete(keys.alias_look("base"))
    assert first.champion("base") == 2
    registry.asked = 0
    assert [second.champion("base") for _ in range(5)] == [2] * 5
    assert registry.asked == 1
    assert 0 < redis.ttl(keys.alias_look("base")) <= 10


def test_a_registry_that_is_away_is_asked_until_it_is_back(
    registry: CountingRegistry, watched: WatchedRegistry, store: Store
) -> None:
    watched.champion("base")
    registry.away = True
    tell(store, "base")
    for _ in range(2):
        with pytest.raises(errors.UnavailableError):
            watched.champion("base")
    registry.away = False
    assert watched.champion("base") == 1


def test_without_redis_the_registry_is_read_once_and_that_stands(registry: CountingRegistry) -> None:
    nowhere = Store.connect(Settings.model_validate({"redis_url": "redis://127.0.0.1:1/0"}))
    watched = WatchedRegistry(registry, lambda: nowhere, fresh_s=0)
    assert [watched.champion("base") for _ in range(3)] == [1] * 3
    assert registry.asked == 1
    tell(nowhere, "base")
