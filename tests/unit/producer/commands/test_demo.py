"""The parts of the demo that are not commands."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pointsman_producer.client.handles import TaskHandle
from pointsman_producer.commands import demo
from pointsman_producer.diagnostics.probe import Process
from pointsman_shared import errors
from pointsman_shared.settings import Settings
from tests.support.handles import answered

FLAGS = {"f": {"proModel": {"t": 0, "v": {"b": False}, "i": "everyone-else"}}}


def process(pid: int, *tiers: str) -> Process:
    return {"host": "a", "pid": pid, "tiers": {"base": None, "pro": None, **dict.fromkeys(tiers, 1)}}


def test_the_tour_goes_on_when_every_process_serves_both_tiers() -> None:
    assert demo.all_serve([process(1, "base", "pro"), process(2, "base", "pro")])
    assert not demo.all_serve([process(1, "base", "pro"), process(2, "base")])
    assert not demo.all_serve([process(1, "base", "pro")])
    assert not demo.all_serve([])


def test_the_tour_waits_until_something_is_there() -> None:
    states = [False, False, True]
    assert demo.wait_for(lambda: states.pop(0), "nothing is there", 5) >= 2 * demo.POLL_S
    assert states == []


def test_what_does_not_come_is_said() -> None:
    with pytest.raises(errors.ResultTimeoutError, match="after 0 s nothing is there"):
        demo.wait_for(lambda: False, "nothing is there", 0.0)


def test_the_flag_is_turned_in_the_copy_only(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs.json", tmp_path / "ours.json"
    theirs.write_text(json.dumps(FLAGS))
    demo.copy_flags(theirs, ours)
    demo.open_to_everyone(ours)
    assert json.loads(theirs.read_text()) == FLAGS
    assert json.loads(ours.read_text())["f"]["proModel"]["v"] == {"b": True}


def test_a_missing_flag_file_is_said_with_the_setting_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(errors.SettingsError, match="POINTSMAN_FLAGS_FILE"):
        demo.copy_flags(tmp_path / "nowhere.json", tmp_path / "ours.json")


def test_a_file_without_the_flag_cannot_be_turned(tmp_path: Path) -> None:
    file = tmp_path / "flags.json"
    file.write_text('{"f": {}}')
    with pytest.raises(errors.InvalidDataError, match="proModel"):
        demo.open_to_everyone(file)


class TourClient:
    """A client of a deployment in which nothing can be trained and nothing was compared."""

    def __init__(self, champions: list[int | None]) -> None:
        self.settings = Settings()
        self.shadow = SimpleNamespace(drained=lambda: True, pairs=list)
        self._champions = champions

    def models(self, _: str) -> TaskHandle[Any]:
        lines = [{"tier": "base", "champion": champion} for champion in self._champions]
        return answered(lines)


def test_a_tier_whose_version_may_not_serve_ends_the_tour(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[list[str]] = []
    monkeypatch.setattr(demo, "step", lambda _, arguments: steps.append(arguments))
    client: Any = TourClient([None])
    with pytest.raises(errors.InvalidDataError, match="the new version of base may not serve"):
        demo.train(client)
    assert steps == [["train", "base"]]


def test_a_tour_in_which_nothing_was_compared_says_which_flag_to_set() -> None:
    client: Any = TourClient([1])
    with pytest.raises(errors.InvalidDataError, match="shadowSampleRate"):
        demo.shadowed_pair(client)
