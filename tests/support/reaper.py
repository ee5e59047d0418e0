"""Ends everything that the tests started when the process that runs them dies, however it dies.

`watch` marks the environment, which every descendant inherits, and starts this file as a program that holds the other
end of a pipe. When the pipe closes, it kills each process that carries the mark. redis-server overwrites its own
environment, so its pid is listed by `adopt`. The watchdog of a deployment gets time to end its programs, because it
alone knows their Redis.
"""

import contextlib
import functools
import os
import select
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Final

import psutil

MARK: Final = "TESTS_OF_POINTSMAN"
WATCHDOG: Final = "watchdog.py"
PATIENCE_S: Final = 20.0
LOOK_S: Final = 0.5
TICK_S: Final = 0.1


def watch() -> None:
    """Let everything that this process starts from now on end with it."""
    _pipe(os.getpid())


def adopt(pid: int) -> None:
    """List a process that hides its environment."""
    os.write(_pipe(os.getpid()), f"{pid}\n".encode())


def mark() -> dict[str, str]:
    """Return what the environment of a process must hold if it does not inherit this one's."""
    watch()
    return {MARK: os.environ[MARK]}


@functools.cache
def _pipe(pid: int) -> int:
    # A worker of pytest-xdist carries the mark of its controller, too, and so do its processes.
    path = "/".join(filter(None, (os.environ.get(MARK), uuid.uuid4().hex)))
    environ = {name: value for name, value in os.environ.items() if name != MARK}
    its_end, our_end = os.pipe()
    command = [sys.executable, __file__, path, str(pid)]
    process = subprocess.Popen(command, stdin=its_end, env=environ, start_new_session=True)
    # It ends after this process, which is why it is not waited for.
    process.returncode = 0
    os.close(its_end)
    os.environ[MARK] = path
    return our_end


def marked(path: str) -> Iterator[psutil.Process]:
    """Find the living processes that carry the mark."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            theirs = process.environ().get(MARK, "")
            if f"{theirs}/".startswith(f"{path}/") and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def is_watchdog(process: psutil.Process) -> bool:
    """Tell whether a process is the watchdog of a deployment."""
    with contextlib.suppress(psutil.Error):
        return any(part.endswith(WATCHDOG) for part in process.cmdline())
    return False


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill processes that may have ended by now."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()


def reap(path: str, adopted: Iterable[psutil.Process]) -> None:
    """Kill all marked processes, the watchdogs only when their time is over."""
    for process in adopted:
        with contextlib.suppress(psutil.Error):
            kill([*process.children(recursive=True), process])
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and (left := list(marked(path))):
        kill(process for process in left if not is_watchdog(process))
        time.sleep(TICK_S)
    kill(marked(path))


def listed(parent: int) -> Iterator[int]:
    """Yield the pids that are written to stdin, until the parent closes it or dies."""
    pending = b""
    # A forked child of the parent may keep the pipe open, so the parent itself is looked at, too.
    while os.getppid() == parent:
        if not select.select([sys.stdin], [], [], LOOK_S)[0]:
            continue
        read = os.read(sys.stdin.fileno(), 4096)
        if not read:
            return
        *lines, pending = (pending + read).split(b"\n")
        yield from map(int, lines)


def main() -> None:
    """Wait until the process that started this one is gone, then end what it left."""
    adopted: list[psutil.Process] = []
    for pid in listed(int(sys.argv[2])):
        # Known by its start time from here on, so that a later process with the same pid is spared.
        with contextlib.suppress(psutil.Error):
            adopted.append(psutil.Process(pid))
    reap(sys.argv[1], adopted)


if __name__ == "__main__":
    main()
