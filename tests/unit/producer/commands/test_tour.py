"""What the demo adds up and turns."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from pointsman_producer.commands import tour
from pointsman_producer.diagnostics.probe import Process
from pointsman_shared import errors

FLAGS = {"f": {"proModel": {"t": 0, "v": {"b": False}, "i": "everyone-else"}}}


def process(pid: int, *tiers: str) -> Process:
    return {"host": "a", "pid": pid, "tiers": dict.fromkeys(tiers, 1)}


class Taking:
    """Worker processes that take the tiers over one after the other."""

    def __init__(self, *states: Sequence[Process]) -> None:
        self.states = list(states)

    def __call__(self) -> Sequence[Process]:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]


def test_the_tour_goes_on_when_every_process_serves_both_tiers() -> None:
    ready = [process(1, "base", "pro"), process(2, "base", "pro")]
    taking = Taking([], [process(1, "base")], [process(1, "base", "pro"), process(2, "base")], ready)
    tour.wait_until_served(taking, 2)
    assert taking.states == [ready]


def test_a_tier_that_nobody_takes_over_is_said() -> None:
    with pytest.raises(errors.TierUnavailableError):
        tour.wait_until_served(Taking([process(1, "base")]), 1, timeout_s=0.0)


def test_the_flag_is_turned_in_the_copy_only(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs.json", tmp_path / "ours.json"
    theirs.write_text(json.dumps(FLAGS))
    tour.copy_flags(theirs, ours)
    tour.open_to_everyone(ours)
    assert json.loads(theirs.read_text()) == FLAGS
    assert json.loads(ours.read_text())["f"]["proModel"]["v"] == {"b": True}


def test_a_missing_flag_file_is_said_with_the_setting_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(errors.SettingsError, match="POINTSMAN_FLAGS_FILE"):
        tour.copy_flags(tmp_path / "nowhere.json", tmp_path / "ours.json")


def test_a_file_without_the_flag_cannot_be_turned(tmp_path: Path) -> None:
    file = tmp_path / "flags.json"
    file.write_text('{"f": {}}')
    with pytest.raises(errors.InvalidDataError, match="proModel"):
        tour.open_to_everyone(file)


def test_conversations_are_counted_once_by_plan_and_tier() -> None:
    rows = [
        {"conversation_id": "c1", "tier": "pro"},
        {"conversation_id": "c1", "tier": "pro"},
        {"conversation_id": "c2", "tier": "base"},
        {"conversation_id": "c3", "tier": "base"},
    ]
    table = tour.tiers_by_plan(rows, {"c1": "pro", "c2": "free"})
    assert table == {"free": Counter(base=1), "pro": Counter(pro=1), "unknown": Counter(base=1)}


def test_plans_are_read_from_the_users_of_the_transcripts(tmp_path: Path) -> None:
    source = tmp_path / "transcripts.jsonl"
    turns = [{"speaker": "customer", "text": "hi"}]
    conversations = [
        {"conversation_id": "c1", "user": {"id": "u1", "custom": {"plan": "pro"}}, "turns": turns},
        {"conversation_id": "c2", "turns": turns},
    ]
    source.write_text("".join(json.dumps(line) + "\n" for line in conversations))
    assert tour.plans_of(source) == {"c1": "pro", "c2": "unknown"}
