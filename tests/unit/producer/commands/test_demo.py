"""The parts of the demo that are not commands."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from pointsman_producer.commands import demo
from pointsman_producer.diagnostics.probe import Process
from pointsman_shared import errors

FLAGS = {"f": {"proModel": {"t": 0, "v": {"b": False}, "i": "everyone-else"}}}


def process(pid: int, *tiers: str) -> Process:
    return {"host": "a", "pid": pid, "tiers": {"base": None, "pro": None, **dict.fromkeys(tiers, 1)}}


class Taking:
    """Worker processes that take the tiers over one after the other."""

    def __init__(self, *states: Sequence[Process]) -> None:
        self.states = list(states)

    def __call__(self) -> Sequence[Process]:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]


def test_the_tour_goes_on_when_every_process_serves_both_tiers() -> None:
    ready = [process(1, "base", "pro"), process(2, "base", "pro")]
    taking = Taking([], [process(1, "base")], [process(1, "base", "pro"), process(2, "base")], ready)
    demo.wait_until_served(taking, 2)
    assert taking.states == [ready]


def test_a_tier_that_nobody_takes_over_is_said() -> None:
    with pytest.raises(errors.TierUnavailableError):
        demo.wait_until_served(Taking([process(1, "base")]), 1, timeout_s=0.0)


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
