"""A program of its own: stops a launcher's processes if the launcher dies without doing so.

It reads lines from its stdin: `+PID ORDER` when a process starts (ORDER is `first` or `last`), `-PID` when it has
ended. Nobody but the launcher keeps the other end open, so however the launcher dies, the input ends, and whoever
is still listed is stopped. It runs isolated from site-packages and must import nothing but the standard library.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

# A second is left for Redis, which ends last.
GRACE_S = 9.0


def follow(lines: Iterable[str]) -> dict[int, str]:
    """Give the processes that are left, with their order, when the input ends."""
    left: dict[int, str] = {}
    for line in lines:
        sign, rest = line[:1], line[1:].split()
        if sign == "+":
            left[int(rest[0])] = rest[1]
        elif sign == "-":
            left.pop(int(rest[0]), None)
    return left


def stop(pids: list[int], grace_s: float) -> None:
    """Ask the processes to end; kill what is left of their groups after the grace."""
    _send(os.kill, pids, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    _send(os.killpg, pids, signal.SIGKILL)


def _send(send: Callable[[int, int], None], pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            send(pid, number)


def is_alive(pid: int) -> bool:
    """Say whether a process of that id runs; one that only waits to be reaped does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    # Its parent is gone, and what takes a parent's place in a container may reap late or never.
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(") ")[2].startswith("Z")


def main() -> None:
    """Wait for the launcher's end and clean up."""
    left = follow(sys.stdin)
    for order in ("first", "last"):
        stop([pid for pid, its_order in left.items() if its_order == order], GRACE_S)


if __name__ == "__main__":
    main()
