"""Which tests run which line: from one run of the quick tests under coverage, with the test as its context."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import coverage

CONFIGURATION = """[run]
dynamic_context = test_function
data_file = {data}
source_pkgs = pointsman_models, pointsman_producer, pointsman_shared, pointsman_workers
"""


@dataclass(frozen=True, slots=True)
class CoverageMap:
    """The tests of each line of each file."""

    tests: dict[Path, dict[int, set[str]]]

    def of(self, path: Path, line: int) -> list[str]:
        """Return the tests that run a line; for one that runs at import, those that run any line of the file."""
        lines = self.tests.get(path, {})
        return sorted(lines.get(line) or set().union(*lines.values()))


def measure(root: Path, environ: dict[str, str], tests: list[str]) -> CoverageMap:
    """Run the tests in a copy of the repository, and note what each one runs."""
    data, configuration = root / ".coverage-map", root / "coverage-map.ini"
    configuration.write_text(CONFIGURATION.format(data=data))
    command = ["-m", "coverage", "run", f"--rcfile={configuration}", "-m", "pytest", "-q", *tests]
    subprocess.run([sys.executable, *command], cwd=root, env=environ, check=True, stdout=subprocess.DEVNULL)
    stored = coverage.CoverageData(basename=str(data))
    stored.read()
    found: dict[Path, dict[int, set[str]]] = {}
    for name in stored.measured_files():
        by_line = stored.contexts_by_lineno(name)
        found[Path(name).relative_to(root)] = {
            line: {test for context in contexts if (test := _node_id(root, context))}
            for line, contexts in by_line.items()
        }
    return CoverageMap(found)


def _node_id(root: Path, context: str) -> str | None:
    """Turn `tests.unit.test_x.test_y` into pytest's name of the test."""
    module, _, function = context.rpartition(".")
    file = Path(*module.split(".")).with_suffix(".py") if module else None
    return f"{file}::{function}" if file is not None and (root / file).exists() else None
