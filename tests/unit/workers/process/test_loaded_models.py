"""How a process holds its classifiers and takes over new versions."""

import pytest

from pointsman_models.inference.classifier import Classifier
from pointsman_shared import errors
from pointsman_workers.process.loaded_models import LoadedModels
from tests.support import tiny


class Shelf:
    """A registry of classifiers that exist already; some versions are broken."""

    def __init__(self, champion: int | None = 1, broken: tuple[int, ...] = ()) -> None:
        self.current = champion
        self.broken = broken
        self.loads: list[int] = []

    def champion(self, tier: str) -> int | None:
        return self.current

    def load_classifier(self, tier: str, version: int) -> Classifier:
        self.loads.append(version)
        if version in self.broken:
            msg = f"version {version} does not match its digest"
            raise errors.RegistryError(msg)
        return tiny.make_classifier(tier, version)


def test_the_champion_serves_after_a_refresh() -> None:
    models = LoadedModels(Shelf(), ["base"])
    models.refresh()
    assert models.classifier("base").version == 1


def test_a_tier_without_a_champion_says_that_it_has_to_be_trained() -> None:
    models = LoadedModels(Shelf(champion=None), ["base"])
    models.refresh()
    with pytest.raises(errors.TierUnavailableError, match="has to be trained"):
        models.classifier("base")


def test_a_new_champion_takes_over_and_is_loaded_once() -> None:
    shelf = Shelf()
    models = LoadedModels(shelf, ["base"])
    models.refresh()
    shelf.current = 2
    models.refresh()
    models.refresh()
    assert models.versions() == {"base": 2}
    assert shelf.loads == [1, 2]


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_serving_and_is_reported() -> None:
    shelf = Shelf(broken=(2,))
    models = LoadedModels(shelf, ["base"])
    models.refresh()
    shelf.current = 2
    models.refresh()
    models.refresh()
    assert models.classifier("base").version == 1
    assert models.problems() == ["tier base: version 2 does not match its digest"]
    assert shelf.loads == [1, 2], "a version that was refused is not tried every second"


def test_a_registry_that_forgets_is_reported_and_what_it_names_next_is_loaded_anew() -> None:
    shelf = Shelf()
    models = LoadedModels(shelf, ["base"])
    models.refresh()
    shelf.current = None
    models.refresh()
    assert models.classifier("base").version == 1
    (problem,) = models.problems()
    assert "the registry has no version of it any more" in problem
    shelf.current = 1
    for _ in range(2):
        models.refresh()
    assert (models.problems(), shelf.loads) == ([], [1, 1])


def test_going_back_to_the_version_that_serves_settles_the_problem() -> None:
    shelf = Shelf(broken=(2,))
    models = LoadedModels(shelf, ["base"])
    models.refresh()
    shelf.current = 2
    models.refresh()
    shelf.current = 1
    models.refresh()
    assert models.problems() == []


def test_a_child_inherits_what_its_parent_had_loaded() -> None:
    parent = LoadedModels(Shelf(), ["base"])
    parent.refresh()
    shelf = Shelf()
    child = LoadedModels(shelf, ["base"], inherited=parent)
    child.refresh()
    assert child.classifier("base") is parent.classifier("base")
    assert shelf.loads == []


def test_a_promotion_that_cannot_be_followed_is_reported_once() -> None:
    shelf, told = Shelf(broken=(2,)), list[tuple[str, int, str]]()
    models = LoadedModels(shelf, ["base"], on_refused=lambda *what: told.append(what))
    models.refresh()
    shelf.current = 2
    models.refresh()
    assert told == [("base", 2, "version 2 does not match its digest")]
    models.refresh()
    assert len(told) == 1


def test_a_version_that_was_refused_is_tried_again_after_a_while() -> None:
    now = 0.0
    shelf = Shelf(broken=(2,))
    models = LoadedModels(shelf, ["base"], clock=lambda: now)
    models.refresh()
    shelf.current = 2
    models.refresh()
    shelf.broken = ()
    now = 29.0
    models.refresh()
    assert models.versions() == {"base": 1}
    now = 31.0
    models.refresh()
    assert models.versions() == {"base": 2}
    assert models.problems() == []


def test_other_versions_are_loaded_on_demand_and_the_least_used_one_goes() -> None:
    shelf = Shelf()
    models = LoadedModels(shelf, ["base"])
    models.refresh()
    assert models.version("base", 1) is models.classifier("base")
    for version in (2, 3, 4, 5, 2, 6):
        models.version("base", version)
    shelf.loads.clear()
    for version in (2, 4, 5, 6):
        models.version("base", version)
    assert shelf.loads == []
    models.version("base", 3)
    assert shelf.loads == [3]


def test_another_version_that_cannot_be_loaded_is_reported_and_tried_again_later() -> None:
    now = 0.0
    shelf = Shelf(broken=(2,))
    models = LoadedModels(shelf, ["base"], clock=lambda: now)
    for _ in range(2):
        with pytest.raises(errors.RegistryError, match="does not match its digest"):
            models.version("base", 2)
    assert shelf.loads == [2]
    assert models.problems() == [
        "shadow candidate base@2: it cannot be loaded: version 2 does not match its digest"
    ]
    shelf.broken, now = (), 31.0
    assert models.version("base", 2).version == 2
    assert models.problems() == []
