"""The declared tiers of a process, while people edit the file."""

import os
from pathlib import Path

import pytest

from pointsman_shared import errors
from pointsman_workers.process.declared import DeclaredTiers

BASE = '[tiers.base]\nintents = ["a", "b"]\ndatasets = ["d.jsonl"]\n'
ROUTING = '[routing]\nflag = "f"\nvalues = { true = "pro", false = "base" }\ndefault = "base"\n'


def write(path: Path, content: str) -> None:
    staged = path.with_suffix(".new")
    staged.write_text(content)
    os.replace(staged, path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tiers.toml"
    write(path, BASE)
    return path


def test_a_new_tier_is_there_after_a_refresh(path: Path) -> None:
    declared = DeclaredTiers(path)
    write(path, BASE + BASE.replace("base", "pro") + ROUTING)
    assert list(declared) == ["base"]
    declared.refresh()
    assert (list(declared), len(declared), declared.routing.flag) == (["base", "pro"], 2, "f")
    assert declared["pro"].name == "pro"


def test_a_broken_file_leaves_the_last_good_declaration_in_force(path: Path) -> None:
    declared = DeclaredTiers(path)
    write(path, "tiers = ")
    declared.refresh()
    assert list(declared) == ["base"]
    assert "is not TOML" in declared.problems()[0]
    assert declared.problems()[0].startswith("tiers: ")
    with pytest.raises(errors.SettingsError, match="is not TOML"):
        declared.current()
    path.unlink()
    declared.refresh()
    assert "no such file" in declared.problems()[0]
    write(path, BASE)
    assert list(declared.current()) == ["base"]
    assert declared.problems() == []
