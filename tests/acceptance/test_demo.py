"""The guided tour that `make demo` runs, as a new user sees it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.running import DATA

POINTSMAN = Path(sys.executable).with_name("pointsman")
DEADLINE_S = 300
PAGE = Path(".pointsman/demo/shadow.html")


def tour(folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("POINTSMAN_")}
    return subprocess.run(
        [POINTSMAN, "demo"],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(2 * DEADLINE_S)
def test_the_demo_works_twice_in_a_row(tmp_path: Path) -> None:
    shutil.copytree(DATA, tmp_path / "data")
    flags = (tmp_path / "data" / "flags.json").read_bytes()
    for _ in range(2):
        done = tour(tmp_path)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert "base@1 vs pro@1" in done.stderr
        assert str(PAGE) in done.stderr
    outcomes = [
        json.loads(line) for line in (tmp_path / ".pointsman/demo/outcomes.jsonl").read_text().splitlines()
    ]
    turns = sum(
        turn["speaker"] == "customer"
        for line in (DATA / "transcripts.jsonl").read_text("utf-8").splitlines()
        for turn in json.loads(line)["turns"]
    )
    assert len(outcomes) == turns
    of_base = sum(outcome["tier"] == "base" for outcome in outcomes)
    page = (tmp_path / PAGE).read_text()
    assert f"Of {of_base} texts" in page, "the report is about the conversations that were just classified"
    assert {outcome["tier"] for outcome in outcomes} == {"base", "pro"}
    versions = {outcome["model_version"] for outcome in outcomes}
    assert versions == {1}, "the second tour uses the tiers that the first one trained"
    assert (tmp_path / "data" / "flags.json").read_bytes() == flags, "the tour turns a copy of the flags"
