"""Which tests run which line: from one run of the quick tests under coverage, with the test as its context."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import coverage

ROOT = Path(__file__).parents[2]
CONFIGURATION = """[run]
data_file = {data}
source_pkgs = pointsman_models, pointsman_producer, pointsman_shared, pointsman_workers
"""
FAILED = re.compile(r"^(?:FAILED|ERROR) ([^\s\[]+)", re.MULTILINE)
SHOWN_CHARS = 4_000


@dataclass(frozen=True, slots=True)
class CoverageMap:
    """The tests of each line of each file."""

    tests: dict[Path, dict[int, set[str]]]

    def of(self, path: Path, line: int) -> list[str]:
        """Return the tests that run a line.

        For a line that runs at import, return those that run any line of the file, and the unit tests of its module:
        what a class declares is used without running a line.
        """
        lines = self.tests.get(path, {})
        return sorted(lines.get(line) or set().union(*lines.values(), _unit_tests(path)))


def measure(root: Path, environ: dict[str, str], tests: list[str]) -> CoverageMap:
    """Run the tests in a copy of the repository, and note what each one runs."""
    data, configuration = root / ".coverage-map", root / "coverage-map.ini"
    configuration.write_text(CONFIGURATION.format(data=data))
    run = ["-m", "coverage", "run", f"--rcfile={configuration}"]
    command = [*run, "-m", "pytest", "-q", "-p", "tests.mutants.contexts", *tests]
    ran = subprocess.run(
        [sys.executable, *command], cwd=root, env=environ, check=False, capture_output=True, text=True
    )
    failed = set(FAILED.findall(ran.stdout))
    if ran.returncode and not failed:
        sys.exit(f"the tests cannot be run in the copy:\n{ran.stdout[-SHOWN_CHARS:]}")
    for test in sorted(failed):
        print(f"{test} fails without any mistake, so it is left out", flush=True)
    stored = coverage.CoverageData(basename=str(data))
    stored.read()
    found: dict[Path, dict[int, set[str]]] = {}
    for name in stored.measured_files():
        by_line = stored.contexts_by_lineno(name)
        found[Path(name).relative_to(root)] = {
            line: {test for context in contexts if (test := context.partition("[")[0])} - failed
            for line, contexts in by_line.items()
        }
    return CoverageMap(found)


def _unit_tests(path: Path) -> set[str]:
    """Return the file of a module's unit tests, if there is one."""
    package, _, *rooms = path.parent.parts
    mirror = Path("tests", "unit", package, *rooms, f"test_{path.name}")
    return {str(mirror)} if (ROOT / mirror).exists() else set()
