"""Keeping programs running: start, restart with backoff, collect their lines, stop them in order.

Each program leads a session of its own, so that a terminal's Ctrl-C reaches the launcher only, and is stopped by
its pid. A watchdog process does the stopping if this process is killed.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from pointsman_producer.deployment import watchdog

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 30.0
# A program that ran this long was well; the next delay is the first again.
STABLE_AFTER_S = 60.0
GRACE_S = watchdog.GRACE_S
PUMP_PATIENCE_S = 1.0

# The program lists itself with the watchdog before it begins, so there is no moment in which it runs unlisted.
# The watchdog's pipe comes as stdin (shells name no descriptor above 9) and is let go before the program starts.
_LISTED = """trap '' PIPE; echo "+$$ $0" 2>/dev/null >&0; trap - PIPE; exec "$@" </dev/null"""

Say = Callable[[str, str], None]
"""Takes a program's name and one line about it or from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run.

    Attributes:
        name: What the log calls it.
        command: The command line; no secret may stand in it.
        environ: The whole environment.
        stops_last: Whether the others need it until they have ended.
    """

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    stops_last: bool = False


class Supervisor:
    """Keeps programs running until told to stop.

    Args:
        say: Gets every line the programs print and what the supervisor has to tell of them.
        first_delay_s: How long a program that ended is left alone the first time; doubles up to 30 s.
    """

    def __init__(self, say: Say, *, first_delay_s: float = FIRST_DELAY_S) -> None:
        self._say = say
        self._first_delay_s = first_delay_s
        self._keepers: list[Keeper] = []
        self._watchdog = _start_watchdog()

    def start(self, program: Program) -> "Keeper":
        """Start a program and keep it running."""
        keeper = Keeper(program, self._say, self._list, self._first_delay_s)
        self._keepers.append(keeper)
        keeper.start()
        return keeper

    def stop(self, grace_s: float = GRACE_S) -> None:
        """Stop all programs, those that stop last after the others; whoever does not end in time is killed."""
        for last in (False, True):
            stop_together([keeper for keeper in self._keepers if keeper.program.stops_last is last], grace_s)
        self._keepers.clear()
        self._list.close()
        self._watchdog.wait()

    def kill(self) -> None:
        """Kill all programs at once; `stop`, under way or to come, then has nothing to wait for."""
        for keeper in list(self._keepers):
            keeper.kill()

    @property
    def _list(self) -> IO[bytes]:
        pipe = self._watchdog.stdin
        if pipe is None:
            msg = "the watchdog was started without a pipe"
            raise RuntimeError(msg)
        return pipe


def _start_watchdog() -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
        [sys.executable, "-I", "-S", watchdog.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        start_new_session=True,
    )


def stop_together(keepers: Iterable["Keeper"], grace_s: float) -> None:
    """Ask all of them to end, then wait for all of them, so that the grace is spent once."""
    keepers = list(keepers)
    for keeper in keepers:
        keeper.ask_to_end()
    deadline = time.monotonic() + grace_s
    for keeper in keepers:
        keeper.end(max(0.0, deadline - time.monotonic()))


class Keeper:
    """One program, kept running by a thread."""

    def __init__(self, program: Program, say: Say, watched: IO[bytes], first_delay_s: float) -> None:
        self.program = program
        self.restarts = 0
        self._say = say
        self._watched = watched
        self._first_delay_s = first_delay_s
        self._stopping = threading.Event()
        # Held while a process is started, so that none starts after `ask_to_end`.
        self._starting = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name=f"keep-{program.name}", daemon=True)

    @property
    def pid(self) -> int | None:
        """The running process."""
        return self._process.pid if self._process is not None and self.alive else None

    @property
    def alive(self) -> bool:
        """Whether the program runs at this moment."""
        return self._process is not None and self._process.returncode is None

    def start(self) -> None:
        """Start the program and the thread that keeps it running."""
        self._process = self._spawn()
        self._thread.start()

    def ask_to_end(self) -> None:
        """Send SIGTERM to the program, and do not start it again."""
        with self._starting:
            self._stopping.set()
        if self._process is not None and self.alive:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    def end(self, grace_s: float) -> None:
        """Wait until the program has ended, and kill it if it takes longer than the grace."""
        if not self._thread.is_alive():
            return
        self._thread.join(grace_s)
        if self._thread.is_alive():
            self._say(self.program.name, f"WARNING did not end within {grace_s:.0f} s; killed")
            self.kill()
            self._thread.join()

    def kill(self) -> None:
        """Kill the program and all its children now."""
        with self._starting:
            self._stopping.set()
        if self._process is not None and self.alive:
            _kill_group(self._process.pid)

    def restart(self) -> None:
        """Kill the program and all its children now; it is started again."""
        if self._process is not None and self.alive:
            _kill_group(self._process.pid)

    def _keep(self) -> None:
        delay_s = self._first_delay_s
        while (process := self._process) is not None:
            started = time.monotonic()
            code = self._outlive(process)
            if self._stopping.is_set():
                return
            if time.monotonic() - started >= STABLE_AFTER_S:
                delay_s = self._first_delay_s
            self._say(
                self.program.name, f"WARNING ended ({how_it_ended(code)}); starting again in {delay_s:g} s"
            )
            self._stopping.wait(delay_s)
            delay_s = min(2 * delay_s, LONGEST_DELAY_S)
            self._process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        with self._starting:
            if self._stopping.is_set():
                return None
            self.restarts += self._process is not None
            return subprocess.Popen(  # noqa: S603 - the programs are the launcher's own
                [
                    "/bin/sh",
                    "-c",
                    _LISTED,
                    "last" if self.program.stops_last else "first",
                    *self.program.command,
                ],
                env=dict(self.program.environ),
                stdin=self._watched,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _outlive(self, process: subprocess.Popen[bytes]) -> int:
        pump = threading.Thread(
            target=self._pump, args=(process,), name=f"log-{self.program.name}", daemon=True
        )
        pump.start()
        code = process.wait()
        # Children that outlived their parent would hold the pipe, and might hold ports and files.
        _kill_group(process.pid)
        # A process that left the group may still hold the pipe; its lines are not waited for.
        pump.join(PUMP_PATIENCE_S)
        with contextlib.suppress(OSError):
            self._watched.write(f"-{process.pid}\n".encode())
        return code

    def _pump(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is None:
            return
        with process.stdout as lines:
            for line in lines:
                self._say(self.program.name, line.decode(errors="replace").rstrip())


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def how_it_ended(code: int) -> str:
    """Say an exit status in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
