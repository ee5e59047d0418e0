"""Programs are kept running, stopped in order, and never outlive their launcher."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest

from pointsman_producer.deployment import watchdog
from pointsman_producer.deployment.supervisor import Program, Supervisor, how_it_ended
from tests.support.deadlines import eventually

FOREVER = ("sleep", "1000")


class Lines:
    """Remembers what was said."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str]] = []

    def __call__(self, name: str, line: str) -> None:
        self.all.append((name, line))

    def has(self, part: str) -> bool:
        return any(part in line for _, line in self.all)


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def supervisor(lines: Lines) -> Iterator[Supervisor]:
    supervisor = Supervisor(lines, first_delay_s=0.01)
    yield supervisor
    supervisor.kill()
    supervisor.stop()


def program(command: Sequence[str], *, name: str = "one", stops_last: bool = False) -> Program:
    return Program(name=name, command=command, environ=os.environ, stops_last=stops_last)


def shell(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


def is_gone(pid: int) -> bool:
    return not watchdog.is_alive(pid)


def test_a_program_that_cannot_use_its_settings_is_not_started_again(
    supervisor: Supervisor, lines: Lines
) -> None:
    said = shell(f"echo started; echo 'pointsman: POINTSMAN_X is wrong' >&2; exit {os.EX_CONFIG}")
    keeper = supervisor.start(program(said))
    keeper.thread.join(10)
    assert not keeper.thread.is_alive()
    assert (keeper.refused, keeper.restarts) == ("POINTSMAN_X is wrong", 0)
    assert [line for _, line in lines.all].count("started") == 1
    assert lines.has("is not started again")


def test_what_a_program_prints_is_heard_with_its_name(supervisor: Supervisor, lines: Lines) -> None:
    supervisor.start(program(shell("echo out; echo err >&2; exec sleep 1000"), name="talker"))
    eventually(lambda: len(lines.all) == 2, "two lines")
    assert sorted(lines.all) == [("talker", "err"), ("talker", "out")]


def test_a_program_reads_nothing_from_the_terminal(supervisor: Supervisor, lines: Lines) -> None:
    supervisor.start(program(shell("cat; echo nothing to read; exec sleep 1000")))
    eventually(lambda: lines.has("nothing to read"), "the end of its input")


def test_a_program_leads_a_session_of_its_own(supervisor: Supervisor) -> None:
    keeper = supervisor.start(program(FOREVER))
    assert keeper.pid is not None
    eventually(lambda: os.getsid(keeper.pid or 0) == keeper.pid, "its own session")


def test_a_program_that_is_killed_is_started_again(supervisor: Supervisor, lines: Lines) -> None:
    keeper = supervisor.start(program(FOREVER))
    first = keeper.pid
    assert first is not None
    os.kill(first, 9)
    eventually(lambda: keeper.restarts == 1 and keeper.pid not in (None, first), "a second start")
    assert lines.has("WARNING ended (killed by SIGKILL); starting again")


def test_the_pauses_between_starts_grow(supervisor: Supervisor, lines: Lines) -> None:
    supervisor.start(program(shell("exit 3")))
    eventually(lambda: lines.has("in 0.04 s"), "the third pause")
    assert [line for _, line in lines.all][:3] == [
        f"WARNING ended (exit code 3); starting again in {delay} s" for delay in ("0.01", "0.02", "0.04")
    ]


def test_a_command_that_does_not_exist_is_said(supervisor: Supervisor, lines: Lines) -> None:
    supervisor.start(program(("/no/such/program",)))
    eventually(lambda: lines.has("exit code 127"), "the shell's exit code")


def test_children_that_outlive_their_parent_are_killed(supervisor: Supervisor, lines: Lines) -> None:
    keeper = supervisor.start(program(shell("sleep 1000 & echo child $!; wait")))
    eventually(lambda: lines.has("child"), "the child's pid")
    child = int(lines.all[0][1].split()[1])
    os.kill(keeper.pid or 0, 9)
    eventually(lambda: is_gone(child), "the end of the child")


def test_stopping_ends_every_program_and_starts_none_again(supervisor: Supervisor) -> None:
    keepers = [supervisor.start(program(FOREVER, name=name)) for name in ("one", "two")]
    pids = [keeper.pid or 0 for keeper in keepers]
    supervisor.stop()
    assert all(map(is_gone, pids))
    assert [keeper.restarts for keeper in keepers] == [0, 0]


def test_a_program_may_finish_its_work(supervisor: Supervisor, lines: Lines) -> None:
    supervisor.start(
        program(shell("trap 'echo finished; exit' TERM; echo ready; while :; do sleep 0.01; done"))
    )
    eventually(lambda: lines.has("ready"), "the trap")
    supervisor.stop()
    assert lines.has("finished")


def test_a_program_that_does_not_end_is_killed_after_the_grace(lines: Lines) -> None:
    supervisor = Supervisor(lines, grace_s=0.1)
    keeper = supervisor.start(program(shell("trap '' TERM; echo ready; while :; do sleep 0.01; done")))
    eventually(lambda: lines.has("ready"), "the trap")
    pid = keeper.pid or 0
    supervisor.stop()
    assert is_gone(pid)
    assert lines.has("killed")


def test_what_the_others_need_stops_after_them(supervisor: Supervisor, lines: Lines) -> None:
    loop = "echo ready; while :; do sleep 0.01; done"
    supervisor.start(program(shell(f"trap 'echo last; exit' TERM; {loop}"), name="store", stops_last=True))
    supervisor.start(program(shell(f"trap 'sleep 0.1; echo first; exit' TERM; {loop}"), name="user"))
    eventually(lambda: len(lines.all) == 2, "both traps")
    supervisor.stop()
    assert [line for _, line in lines.all[2:]] == ["first", "last"]


def test_killing_ends_a_stop_that_waits(lines: Lines) -> None:
    supervisor = Supervisor(lines, grace_s=60)
    keeper = supervisor.start(program(shell("trap '' TERM; echo ready; while :; do sleep 0.01; done")))
    eventually(lambda: lines.has("ready"), "the trap")
    pid = keeper.pid or 0
    supervisor.kill()
    supervisor.stop()
    assert is_gone(pid)


def test_a_stop_ends_the_programs_also_without_the_watchdog(lines: Lines) -> None:
    supervisor = Supervisor(lines)
    pid = supervisor.start(program(FOREVER)).pid or 0
    supervisor._watchdog.kill()
    supervisor.stop()
    assert is_gone(pid)


LAUNCHER = """
import os, sys, time
from pointsman_producer.deployment.supervisor import Program, Supervisor
supervisor = Supervisor(lambda name, line: os.write(1, f"{line}\\n".encode()))
for name in ("one", "two"):
    command = ("sh", "-c", "sleep 1000 & echo $! $$; wait")
    supervisor.start(Program(name=name, command=command, environ=os.environ, stops_last=name == "one"))
time.sleep(1000)
"""


def test_nothing_survives_a_launcher_that_is_killed() -> None:
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    with launcher.stdout as printed:
        pids = [int(pid) for _ in range(2) for pid in printed.readline().split()]
        assert len(pids) == 4
        launcher.kill()
        launcher.wait()
        for pid in pids:
            eventually(lambda pid=pid: is_gone(pid), f"the end of {pid}")  # type: ignore[misc]  # its default is a pid


def test_the_watchdog_lists_what_has_not_ended() -> None:
    assert watchdog.follow(["\n", "+10 last\n", "+11 first\n", "-11\n", "+12 first\n", "-13\n"]) == {
        10: "last",
        12: "first",
    }


def ready(script: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(shell(script), stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_the_watchdog_waits_for_a_process_that_needs_a_moment_to_end() -> None:
    with ready("trap 'sleep 0.1; exit 7' TERM; echo ready; while :; do sleep 0.01; done") as process:
        assert watchdog.stop([process.pid], 60) == []
        assert process.wait() == 7


@pytest.fixture
def as_watchdog() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("as_watchdog")
def test_the_watchdog_stops_what_is_listed_when_its_input_ends_and_names_what_it_killed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with ready("trap '' TERM; echo ready; while :; do sleep 0.01; done") as stubborn:
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"+{stubborn.pid} last\n"))
        monkeypatch.setattr(sys, "argv", ["watchdog", "0.1"])
        watchdog.main()
        assert stubborn.wait() == -signal.SIGKILL
    assert capfd.readouterr().out.split("\n") == ["", str(stubborn.pid), ""]


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "exit code 0"), (3, "exit code 3"), (-9, "killed by SIGKILL"), (-99, "killed by signal 99")],
)
def test_an_exit_status_is_said_in_words(code: int, words: str) -> None:
    assert how_it_ended(code) == words
