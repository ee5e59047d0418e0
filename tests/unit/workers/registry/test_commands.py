"""Questions about versions, and changes of which one serves."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from pointsman_models.data import tiers
from pointsman_models.promotion import training_run
from pointsman_models.registry.versions import Registry
from pointsman_shared import errors
from pointsman_shared.wire import jobs
from pointsman_workers.process.loaded_models import LoadedModels
from pointsman_workers.registry.commands import Commands
from tests.support import running, tier_files, tiny


class Office:
    """Commands on a registry, and the notifications that they caused."""

    def __init__(self, registry: Registry, *declared: tiers.Tier) -> None:
        self.registry = registry
        self.notices: list[tuple[Any, ...]] = []
        by_name = {tier.name: tier for tier in declared}
        self._commands = Commands(
            registry, by_name, lambda *notice: self.notices.append(notice), lambda _: []
        )

    def ask(self, action: str, **fields: Any) -> list[dict[str, Any]]:
        return self._commands.answer(jobs.ModelsQuery.parse({"action": action, "tier": "small", **fields}))

    @property
    def serves(self) -> tuple[int | None, int | None]:
        aliases = self.registry.aliases("small")
        return aliases.champion, aliases.candidate


@pytest.fixture
def tier(tmp_path: Path) -> tiers.Tier:
    return tier_files.small_tier(tmp_path, search=f"[tiers.small.gate]\nmargin = 0.6\n{tier_files.ONE_FIT}")


@pytest.fixture
def office(tmp_path: Path, tier: tiers.Tier) -> Office:
    """Three versions that the gate never saw; the first one serves."""
    registry = Registry(str(tmp_path / "registry"))
    for _ in range(3):
        running.keep(registry, "small", tiny.BASE_INTENTS)
    registry.promote("small", 1, "tests", "to have one")
    return Office(registry, tier)


def test_a_trained_version_is_verified_shown_and_promoted_with_its_certificate(
    tmp_path: Path, tier: tiers.Tier
) -> None:
    registry = Registry(str(tmp_path / "registry"))
    training_run.train(tier, registry, promote=False)
    office = Office(registry, tier)
    assert office.ask("promote", version=1, requested_by="marge") == [
        {"tier": "small", "version": 1, "previous": None}
    ]
    assert office.notices == [("promoted", "small", 1, "by marge: by hand")]
    assert office.ask("verify") == [{"tier": "small", "version": 1, "holds": True, "differences": []}]
    (shown,) = office.ask("show")
    assert (shown["champion"], shown["candidate"], shown["certificate"]["reasons"]) == (True, False, [])
    tier_files.write_lines(
        tier.datasets[0], [("hi", "greeting"), ("bye", "goodbye"), ("hours", "business_hours")]
    )
    with pytest.raises(errors.InvalidDataError):
        office.ask("verify")


def test_a_version_that_the_gate_never_judged_is_promoted_by_force_and_with_a_reason_only(
    office: Office,
) -> None:
    with pytest.raises(errors.RegistryError, match="2 must not be promoted: it was never judged"):
        office.ask("promote", version=2)
    with pytest.raises(errors.InvalidMessageError, match="needs a why"):
        office.ask("promote", version=2, force=True)
    assert office.serves == (1, None)
    office.ask("promote", version=2, force=True, why="an emergency", requested_by="olek")
    assert office.serves == (2, None)
    entry = office.ask("history")[-1]
    assert (entry["who"], entry["why"]) == ("olek", "an emergency")
    assert entry["evidence"] == {"forced": True, "against": ["it was never judged by the gate"]}


def test_a_rollback_brings_the_champion_before_back_and_says_so(office: Office) -> None:
    office.registry.promote("small", 2, "tests", "to have two")
    assert office.ask("rollback", requested_by="olek", why="complaints") == [
        {"tier": "small", "version": 1, "previous": 2}
    ]
    assert office.notices == [("rolled back", "small", 1, "from 2 by olek: complaints")]


def test_a_candidate_is_nominated_unless_it_serves_already(office: Office) -> None:
    assert office.ask("nominate", version=2) == [{"tier": "small", "version": 2, "previous": None}]
    assert office.ask("nominate", version=3) == [{"tier": "small", "version": 3, "previous": 2}]
    assert office.serves == (1, 3)
    with pytest.raises(errors.RegistryError, match="is the champion"):
        office.ask("nominate", version=1)
    roles = [(row["version"], row["champion"], row["candidate"]) for row in office.ask("list")]
    assert roles == [(1, True, False), (2, False, False), (3, False, True)]


def test_two_versions_are_compared_by_the_facts_that_differ(office: Office) -> None:
    other = office.registry.card("small", 2).model_copy(update={"threshold": 0.5})
    model, _ = office.registry.load("small", 2)
    version = office.registry.save("small", model, other).version
    assert office.ask("diff", version=version) == [{"what": "threshold", str(version): 0.5, "1": 0.3}]
    assert office.ask("diff", version=2, other=3) == []


def test_pruning_keeps_as_many_versions_as_it_is_told(office: Office) -> None:
    assert office.ask("prune", keep=1) == [{"tier": "small", "removed": [2]}]
    assert office.registry.versions("small") == [1, 3]


def test_a_question_that_lacks_something_says_what(office: Office, tier: tiers.Tier, tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidMessageError, match="show needs a tier"):
        office.ask("show", tier=None)
    with pytest.raises(errors.InvalidMessageError, match="promote needs a version"):
        office.ask("promote")
    with pytest.raises(errors.RegistryError, match="has no champion yet"):
        Office(Registry(str(tmp_path / "empty")), tier).ask("show")
    assert office.ask("tiers", tier=None) == [{"tier": "small", "champion": 1, "problem": None}]


@pytest.mark.parametrize(
    "content", ["", "{half", "\0\xff", "[]", '{"champion": "one"}', '{"champion": NaN}', "[" * 9_999]
)
def test_damaged_aliases_are_named_once_and_the_versions_are_listed_and_served(
    office: Office, tmp_path: Path, content: str
) -> None:
    serving = LoadedModels(office.registry, ["small"])
    serving.refresh()
    folder = tmp_path / "registry" / "small"
    (folder / "aliases.json").write_text(content)
    shutil.rmtree(folder / "history")
    what = r"aliases\.json is damaged.*: remove it and promote a version again"
    broken, *versions = office.ask("list", tier=None)
    assert (broken["tier"], broken["version"]) == ("small", None)
    assert re.search(what, broken["problem"])
    assert [(line["version"], line["problem"]) for line in versions] == [(1, None), (2, None), (3, None)]
    (tier,) = office.ask("tiers", tier=None)
    assert tier["problem"] == broken["problem"]
    for action in ("promote", "rollback"):
        with pytest.raises(errors.RegistryError, match=what):
            office.ask(action, version=2, force=True, why="an emergency")
    serving.refresh()
    assert serving.versions() == {"small": 1}
    assert re.search(what, serving.problems()[0])
    (folder / "aliases.json").unlink()
    office.ask("promote", version=2, force=True, why="as it was")
    assert office.serves == (2, None)
