"""A run of the tests that is killed leaves no process behind."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support import reaper
from tests.support.deadlines import eventually

ROOT = Path(__file__).parents[2]
START_DEADLINE_S = 60
RUN = """
import os, subprocess, sys
from pathlib import Path
from tests.support import reaper, running
from tests.support.redis_server import RedisServer

reaper.watch()
subprocess.Popen(["sh", "-c", "(setsid sleep 1000 & setsid sleep 1000 &) ; exec sleep 1000"])
with RedisServer.start() as server, running.deployment(Path(sys.argv[1]), workers=1) as deployed:
    print(os.environ[reaper.MARK], server.pid, *deployed.deployment.pids().values(), flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_all_that_a_killed_run_of_the_tests_started_ends(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        mark, *pids = run.stdout.readline().split()
        listed = {psutil.Process(int(pid)) for pid in pids}
        started = {*listed, *psutil.Process(run.pid).children(recursive=True), *reaper.marked(mark)}
        run.kill()
    assert len(listed) == 4
    # A server, a watchdog, Redis, two workers with a child each, three sleepers, the reaper.
    assert len(started) >= 11
    eventually(lambda: not any(map(is_alive, started)), "all processes have ended", START_DEADLINE_S)


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
