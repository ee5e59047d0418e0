"""How many of some small mistakes the quick tests notice: a sample, the same for the same seed.

python -m tests.mutants --sample 50 --seed 1 --package models

Each mistake is made in a copy of the repository; the tests that run its line are run until one fails. What none notices
is listed: some of it changes nothing that matters, the rest is a test that is missing.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tests.mutants import mutations, trial
from tests.mutants.coverage_map import CoverageMap, measure
from tests.mutants.mutations import Mutant

ROOT = Path(__file__).parents[2]
PACKAGES = ("models", "producer", "shared", "workers")
# Without a deployment; the integration tests among them need a Redis.
QUICK = (
    "tests/unit",
    "tests/contract",
    "tests/integration/lua",
    *(
        f"tests/integration/test_{name}.py"
        for name in (
            "backlog",
            "cancellation",
            "comparisons",
            "dead_command",
            "flag_poller",
            "health",
            "in_flight",
            "ledger",
            "pressure",
            "results",
            "scripts",
            "shadow_work",
            "supervisor",
            "training_claims",
            "training_task",
            "watched_registry",
            "worker_here",
        )
    ),
)
OF_MODELS = ("tests/unit/models", "tests/contract/test_registry.py", "tests/unit/workers/process")
SIDE_BY_SIDE = 2


def main() -> int:
    """Sample, try, and print what survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=50, help="how many mistakes")
    parser.add_argument("--seed", type=int, default=1, help="decides which")
    parser.add_argument("--package", choices=PACKAGES, action="append", help="where; may be repeated")
    parser.add_argument("--timeout", type=float, default=90, help="seconds after which tests hang")
    asked = parser.parse_args()
    packages = asked.package or list(PACKAGES)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pointsman-mutants-") as folder:
        copies = [copied(Path(folder) / str(number)) for number in range(SIDE_BY_SIDE)]
        mutants = sampled(packages, asked.sample, asked.seed)
        tests = OF_MODELS if packages == ["models"] else QUICK
        print(f"{len(mutants)} mistakes in {', '.join(packages)}; finding the tests of each line", flush=True)
        found = measure(copies[0], environ(copies[0]), ["-p", "no:randomly", *map(str, tests)])
        survivors = tried(copies, mutants, found, asked.timeout)
    for mutant, tests_of_line in survivors:
        print(f"{mutant.what}{'' if tests_of_line else '   (no quick test runs it)'}")
    killed = len(mutants) - len(survivors)
    taken_s = time.monotonic() - started
    print(f"noticed {killed} of {len(mutants)} ({killed / len(mutants):.0%}) in {taken_s:.0f} s")
    return 0


def copied(folder: Path) -> Path:
    """Copy what git knows of, and what it does not ignore."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def sampled(packages: list[str], size: int, seed: int) -> list[Mutant]:
    """Choose mutants, of all that there are in the packages."""
    files = sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))
    sources = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in files}
    every = [(path, number) for path, source in sources.items() for number in range(mutations.count(source))]
    chosen = random.Random(seed).sample(every, min(size, len(every)))
    return [mutations.make(path, sources[path], number) for path, number in chosen]


def environ(root: Path) -> dict[str, str]:
    """Return the environment in which the copy's packages are imported."""
    roots = os.pathsep.join(str(root / name) for name in (*PACKAGES, ""))
    return {**os.environ, "PYTHONPATH": roots, "PYTHONDONTWRITEBYTECODE": "1"}


def tried(
    copies: list[Path], mutants: list[Mutant], found: CoverageMap, timeout_s: float
) -> list[tuple[Mutant, list[str]]]:
    """Try all mutants, in as many processes as there are copies, and return the survivors with the tests they ran."""
    trial.import_libraries()
    shards = []
    for number, root in enumerate(copies):
        pid = os.fork()
        if pid == 0:
            _try_shard(root, number, mutants, found, timeout_s)
        shards.append(pid)
    statuses = [os.waitpid(pid, 0)[1] for pid in shards]
    if any(statuses):
        sys.exit(1)
    survivors = {
        place
        for root in copies
        for place in json.loads((root / "survivors.json").read_text(encoding="utf-8"))
    }
    return [
        (mutant, found.of(mutant.path, mutant.line))
        for place, mutant in enumerate(mutants)
        if place in survivors
    ]


def _try_shard(root: Path, number: int, mutants: list[Mutant], found: CoverageMap, timeout_s: float) -> None:
    os.environ.update(environ(root))
    sys.dont_write_bytecode = True
    sys.path[:0] = [str(root / name) for name in (*PACKAGES, "")]
    # The copy's tests are imported, not these.
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    survivors = []
    # What changes nothing has to survive; otherwise every mistake would seem to be noticed.
    control = mutants[number % len(mutants)]
    unchanged = replace(control, source=(root / control.path).read_text(encoding="utf-8"))
    if trial.is_killed(root, unchanged, found.of(control.path, control.line), timeout_s):
        print("the tests fail in the copy without any mistake", file=sys.stderr)
        os._exit(1)
    for place in range(number, len(mutants), SIDE_BY_SIDE):
        mutant = mutants[place]
        if not trial.is_killed(root, mutant, found.of(mutant.path, mutant.line), timeout_s):
            survivors.append(place)
    (root / "survivors.json").write_text(json.dumps(survivors), encoding="utf-8")
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
