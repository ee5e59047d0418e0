"""Trying mutants in a copy of the repository: each in a fork that has imported all libraries, and none of our code."""

import contextlib
import importlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.mutants.mutations import Mutant

# Imported once, so that a trial takes a second and not five.
LIBRARIES: Final = (
    "celery",
    "pydantic",
    "redis",
    "scipy.stats",
    "sklearn.linear_model",
    "sklearn.svm",
)
MOST_TESTS: Final = 150
TICK_S: Final = 0.02


def import_libraries() -> None:
    """Import what the forks share."""
    for name in LIBRARIES:
        importlib.import_module(name)


def is_killed(root: Path, mutant: Mutant, tests: Sequence[str], timeout_s: float) -> bool:
    """Put a mutant into the copy, run the tests, and put the original back; True if a test failed or hung."""
    if not tests:
        return False
    file = root / mutant.path
    original = file.read_text(encoding="utf-8")
    file.write_text(mutant.source, encoding="utf-8")
    try:
        return _fails(root, tests, timeout_s)
    finally:
        file.write_text(original, encoding="utf-8")


def _fails(root: Path, tests: Sequence[str], timeout_s: float) -> bool:
    # Many tests are named by their files.
    chosen = tests if len(tests) <= MOST_TESTS else sorted({test.partition("::")[0] for test in tests})
    pid = os.fork()
    if pid == 0:
        _run(root, chosen)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status != 0
        time.sleep(TICK_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True


def _run(root: Path, tests: Sequence[str]) -> None:
    os.setsid()
    os.chdir(root)
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)
    code: int = 1
    with contextlib.suppress(BaseException):
        options = ["-x", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-m", "not slow"]
        code = int(pytest.main([*options, *tests]))
        sys.stdout.flush()
    os._exit(code)
