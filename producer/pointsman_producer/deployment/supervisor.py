"""Keep programs running: start, restart with back-off, collect their lines. Only the watchdog stops them.

Each program leads a session of its own, so that a terminal's Ctrl-C reaches the launcher only.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from pointsman_producer.deployment import watchdog
from pointsman_shared import errors
from pointsman_shared.store import heartbeat

# How often a program is asked whether it is well: each time is a question to Redis.
ASK_S = 2.0
# A worker loads its models before it hears from its queues for the first time.
START_S = 60.0
FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 30.0
# After so long a run, the next delay is the first again.
STABLE_AFTER_S = 60.0
PUMP_PATIENCE_S = 1.0
# What the programs write, texts and models, is for this user alone.
PRIVATE_UMASK = 0o077

# The program lists itself with the watchdog before it starts, so it never runs unlisted. The watchdog's pipe comes as
# stdin (a shell names no descriptor above 9); the program itself gets an empty stdin.
_LISTED = """trap '' PIPE; echo "+$$ $0" 2>/dev/null >&0; trap - PIPE; exec "$@" </dev/null"""

Say = Callable[[str, str], None]
"""Takes a program's name and one line about it or from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program to run; no secret may stand in `command`. The others need one that `stops_last` until they ended."""

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    stops_last: bool = False


@dataclass(slots=True, kw_only=True)
class Keeper:
    """One program that is kept running, by a thread of its own: its last process, and when it is restarted."""

    program: Program
    is_well: Callable[[], bool]
    delay_s: float
    process: subprocess.Popen[bytes] = field(init=False)
    pump: threading.Thread = field(init=False)
    thread: threading.Thread = field(init=False)
    restarts: int = 0
    last: str = ""
    """The last line of its output."""
    refused: str | None = None
    """What the program said of a setting that it cannot use; it is not started again."""

    @property
    def alive(self) -> bool:
        """Whether the program runs now."""
        return self.process.poll() is None

    @property
    def pid(self) -> int | None:
        """The running process."""
        return self.process.pid if self.alive else None


class Supervisor:
    """Keeps programs running until it is stopped; the pause before a restart doubles each time, up to 30 s."""

    def __init__(
        self, say: Say, *, first_delay_s: float = FIRST_DELAY_S, grace_s: float = watchdog.GRACE_S
    ) -> None:
        self._say = say
        self._first_delay_s = first_delay_s
        self._grace_s = grace_s
        self.keepers: list[Keeper] = []
        self._watchdog, self._list, self._late = _start_watchdog(grace_s)
        # Held while a program starts, so that none starts after the list is closed.
        self._starting = threading.Lock()
        self._stopping = threading.Event()

    def start(self, program: Program, is_well: Callable[[], bool] = lambda: True) -> Keeper:
        """Start a program and keep it running; it is also restarted when `is_well` says no for long."""
        keeper = Keeper(program=program, is_well=is_well, delay_s=self._first_delay_s)
        self._spawn(keeper)
        keeper.thread = threading.Thread(target=self._keep, args=(keeper,), name=program.name, daemon=True)
        keeper.thread.start()
        self.keepers.append(keeper)
        return keeper

    def stop(self) -> None:
        """Stop all programs, in order; the watchdog kills those that do not end within the grace."""
        if self._late.closed:
            return
        self._close()
        with self._late:
            late = {int(pid) for pid in self._late.read().split()}
        self._watchdog.wait()
        for keeper in self.keepers:
            if keeper.process.pid in late:
                self._say(keeper.program.name, f"WARNING did not end within {self._grace_s:.0f} s; killed")
            if keeper.alive:
                # Only if the watchdog itself was killed.
                watchdog.send(os.killpg, [keeper.process.pid], signal.SIGKILL)
            keeper.thread.join()
            keeper.pump.join(PUMP_PATIENCE_S)

    def kill(self) -> None:
        """Kill all programs at once; a `stop` that runs or follows returns soon."""
        self._watchdog.send_signal(signal.SIGUSR1)
        self._close()

    def _close(self) -> None:
        with self._starting:
            self._stopping.set()
            self._list.close()

    def _keep(self, keeper: Keeper) -> None:
        """Start a program again each time it ends, until everything stops, or until it refuses its settings."""
        while True:
            started_at = time.monotonic()
            self._wait_for_end(keeper)
            # Asked after the end, so that the end of a program that was stopped causes no restart.
            if self._stopping.is_set():
                return
            self._clean_up(keeper)
            if time.monotonic() - started_at >= STABLE_AFTER_S:
                keeper.delay_s = self._first_delay_s
            if keeper.process.returncode == os.EX_CONFIG:
                keeper.refused = keeper.last.removeprefix(errors.SAID_BY)
                self._say(keeper.program.name, "WARNING cannot use its settings, and is not started again")
                return
            ending = how_it_ended(keeper.process.returncode)
            self._say(
                keeper.program.name, f"WARNING ended ({ending}); starting again in {keeper.delay_s:g} s"
            )
            while not self._stopping.wait(keeper.delay_s):
                # While the machine has no process left, a later start may succeed.
                with contextlib.suppress(OSError):
                    self._spawn(keeper)
                    keeper.restarts += 1
                    break
            keeper.delay_s = min(2 * keeper.delay_s, LONGEST_DELAY_S)

    def _wait_for_end(self, keeper: Keeper) -> None:
        """Wait until the process has ended; kill one that runs and does not work for long."""
        deaf_at = time.monotonic() + START_S + heartbeat.DEAF_AFTER_S
        while keeper.alive:
            with contextlib.suppress(subprocess.TimeoutExpired):
                keeper.process.wait(ASK_S)
                return
            now = time.monotonic()
            if keeper.is_well():
                deaf_at = max(deaf_at, now + heartbeat.DEAF_AFTER_S)
            elif now >= deaf_at and not self._stopping.is_set():
                what = "WARNING does not hear from its queues any more; starting it again"
                self._say(keeper.program.name, what)
                watchdog.send(os.killpg, [keeper.process.pid], signal.SIGKILL)

    def _clean_up(self, keeper: Keeper) -> None:
        # Children that outlive their parent hold the pipe, and perhaps ports and files.
        watchdog.send(os.killpg, [keeper.process.pid], signal.SIGKILL)
        # A process that left the group may hold the pipe for longer; its lines are not waited for.
        keeper.pump.join(PUMP_PATIENCE_S)
        with contextlib.suppress(OSError, ValueError):
            self._list.write(f"-{keeper.process.pid}\n".encode())

    def _spawn(self, keeper: Keeper) -> None:
        with self._starting:
            if self._stopping.is_set():
                raise InterruptedError
            keeper.process = _start_listed(keeper.program, self._list)
        keeper.pump = threading.Thread(target=self._pass_on, args=(keeper, keeper.process), daemon=True)
        keeper.pump.start()

    def _pass_on(self, keeper: Keeper, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is not None:
            with process.stdout as lines:
                for line in lines:
                    keeper.last = line.decode(errors="replace").rstrip()
                    self._say(keeper.program.name, keeper.last)


def _start_watchdog(grace_s: float) -> tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]]:
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
        [sys.executable, "-I", "-S", watchdog.__file__, str(grace_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        start_new_session=True,
    )
    # It prints a line as soon as a signal no longer ends it.
    if process.stdin is None or process.stdout is None or not process.stdout.read(1):
        msg = "the watchdog did not start"
        raise RuntimeError(msg)
    return process, process.stdin, process.stdout


def _start_listed(program: Program, pipe: IO[bytes]) -> subprocess.Popen[bytes]:
    order = "last" if program.stops_last else "first"
    return subprocess.Popen(  # noqa: S603 - the programs are the launcher's own
        ["/bin/sh", "-c", _LISTED, order, *program.command],
        env=dict(program.environ),
        stdin=pipe,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        umask=PRIVATE_UMASK,
    )


def how_it_ended(code: int) -> str:
    """Describe an exit status in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
