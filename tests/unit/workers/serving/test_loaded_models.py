"""How a process holds its classifiers and takes over new versions."""

import pytest

from pointsman_models.inference.classifier import Classifier
from pointsman_shared import errors
from pointsman_workers.serving.loaded_models import Residents
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
    residents = Residents(Shelf(), ["base"])
    residents.refresh()
    assert residents.classifier("base").version == 1


def test_a_tier_without_a_champion_says_how_to_train_it() -> None:
    residents = Residents(Shelf(champion=None), ["base"])
    residents.refresh()
    with pytest.raises(errors.TierUnavailableError, match="pointsman train base"):
        residents.classifier("base")


def test_a_new_champion_takes_over_and_is_loaded_once() -> None:
    shelf = Shelf()
    residents = Residents(shelf, ["base"])
    residents.refresh()
    shelf.current = 2
    residents.refresh()
    residents.refresh()
    assert residents.versions() == {"base": 2}
    assert shelf.loads == [1, 2]


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_serving_and_is_reported() -> None:
    shelf = Shelf(broken=(2,))
    residents = Residents(shelf, ["base"])
    residents.refresh()
    shelf.current = 2
    residents.refresh()
    residents.refresh()
    assert residents.classifier("base").version == 1
    assert residents.problems() == ["tier base: version 2 does not match its digest"]
    assert shelf.loads == [1, 2], "a version that was refused is not tried every second"


def test_going_back_to_the_version_that_serves_settles_the_problem() -> None:
    shelf = Shelf(broken=(2,))
    residents = Residents(shelf, ["base"])
    residents.refresh()
    shelf.current = 2
    residents.refresh()
    shelf.current = 1
    residents.refresh()
    assert residents.problems() == []


def test_a_child_inherits_what_its_parent_had_loaded() -> None:
    parent = Residents(Shelf(), ["base"])
    parent.refresh()
    shelf = Shelf()
    child = Residents(shelf, ["base"], inherited=parent)
    child.refresh()
    assert child.classifier("base") is parent.classifier("base")
    assert shelf.loads == []


def test_of_a_version_that_cannot_be_loaded_people_are_told_once() -> None:
    now = 0.0
    shelf, told = Shelf(broken=(2,)), list[tuple[str, int, str]]()
    residents = Residents(shelf, ["base"], on_refused=lambda *what: told.append(what), clock=lambda: now)
    residents.refresh()
    shelf.current = 2
    residents.refresh()
    now = 31.0
    residents.refresh()
    assert shelf.loads == [1, 2, 2]
    assert told == [("base", 2, "version 2 does not match its digest")]


def test_a_version_that_was_refused_is_tried_again_after_a_while() -> None:
    now = 0.0
    shelf = Shelf(broken=(2,))
    residents = Residents(shelf, ["base"], clock=lambda: now)
    residents.refresh()
    shelf.current = 2
    residents.refresh()
    shelf.broken = ()
    now = 29.0
    residents.refresh()
    assert residents.versions() == {"base": 1}
    now = 31.0
    residents.refresh()
    assert residents.versions() == {"base": 2}
    assert residents.problems() == []
