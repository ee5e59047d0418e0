"""A program of its own that stops the launcher's programs, also after the launcher was killed.

It reads lines from its stdin: `+PID ORDER` when a process starts (ORDER is `first` or `last`), `-PID` when it has
ended. Only the launcher holds the other end, so the input ends when the launcher closes it or dies; the watchdog then
stops every process that is still listed. SIGUSR1 ends the grace at once. It prints an empty line when it listens, and
later the pid of each process that it killed after the grace. It runs isolated from site-packages and imports only the
standard library.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

# One second of a container's ten is left for Redis, which ends last.
GRACE_S = 9.0

_hurried: list[int] = []


def follow(lines: Iterable[str]) -> dict[int, str]:
    """Return the processes that still run, with their order, when the input ends."""
    left: dict[int, str] = {}
    for line in lines:
        sign, rest = line[:1], line[1:].split()
        if sign == "+":
            left[int(rest[0])] = rest[1]
        elif sign == "-":
            left.pop(int(rest[0]), None)
    return left


def stop(pids: list[int], grace_s: float) -> list[int]:
    """Ask the processes to end, kill their groups after the grace, and return those that did not end in time."""
    send(os.kill, pids, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while any(map(is_alive, pids)) and time.monotonic() < deadline and not _hurried:
        time.sleep(0.05)
    late = [] if _hurried else [pid for pid in pids if is_alive(pid)]
    send(os.killpg, pids, signal.SIGKILL)
    return late


def send(call: Callable[[int, int], None], pids: list[int], number: int) -> None:
    """Send a signal by `os.kill` or `os.killpg`; processes that have ended need none."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            call(pid, number)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # After the launcher's death, the init process of a container may reap late or never.
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return not stat.rpartition(") ")[2].startswith("Z")
    return True


def _print(line: str) -> None:
    # A launcher that was killed reads nothing.
    with contextlib.suppress(OSError):
        os.write(1, f"{line}\n".encode())


def main() -> None:
    """Wait until the launcher closes the input, then stop its programs in their order."""
    signal.signal(signal.SIGUSR1, lambda number, _frame: _hurried.append(number))
    _print("")
    left = follow(sys.stdin)
    for order in ("first", "last"):
        for pid in stop([pid for pid, its_order in left.items() if its_order == order], float(sys.argv[1])):
            _print(str(pid))


if __name__ == "__main__":
    main()
