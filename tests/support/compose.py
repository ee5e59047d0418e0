"""The Compose file's services, run as plain processes: their own commands, environments and health checks."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.support import reaper, redis_server
from tests.support.deadlines import eventually

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "Dockerfile"
HEALTHY_DEADLINE_S = 90.0
STOP_DEADLINE_S = 10.0
# Longer than any health check of a service that is well, shorter than waiting for one that is not.
HEALTH_CHECK_S = 5.0

_VARIABLE = re.compile(r"\$(?:\$|\{(\w+)(?::([-?])([^}]*))?\})")


def services(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Read the services with their variables filled in, as Compose does."""
    filled: dict[str, dict[str, Any]] = _filled(yaml.safe_load(FILE.read_text())["services"], environ)
    return filled


def _filled(value: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, environ) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, environ) for item in value]
    return _VARIABLE.sub(lambda found: _value(found, environ), value) if isinstance(value, str) else value


def _value(found: re.Match[str], environ: Mapping[str, str]) -> str:
    name, operator, argument = found.groups()
    if name is None:
        return "$"
    if value := environ.get(name):
        return value
    if operator == "?":
        raise ValueError(argument)
    return argument or ""


def dockerfile(instruction: str) -> list[str]:
    """Give the arguments of every such instruction of the Dockerfile."""
    lines = DOCKERFILE.read_text().replace("\\\n", "").splitlines()
    return [line.removeprefix(instruction).strip() for line in lines if line.startswith(f"{instruction} ")]


def image_environ() -> dict[str, str]:
    """Give the environment that the image sets, but for the search path."""
    pairs = [pair.partition("=") for line in dockerfile("ENV") for pair in shlex.split(line)]
    return {name: value for name, _, value in pairs if name != "PATH"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What stands in for the containers' network and folders."""

    folder: Path
    redis_port: int
    flower_port: int

    def translated(self, text: str) -> str:
        """Replace what only exists between containers."""
        for theirs, ours in (
            ("@redis:6379/", f"@127.0.0.1:{self.redis_port}/"),
            ("redis-server -", f"redis-server - --bind 127.0.0.1 --port {self.redis_port}"),
            ("redis-cli", f"redis-cli -p {self.redis_port}"),
            ("http://127.0.0.1:5555/", f"http://127.0.0.1:{self.flower_port}/"),
            ("timeout=5", "timeout=2"),
        ):
            text = text.replace(theirs, ours)
        return text


class Service:
    """One service of the file as a process; use it as a context manager."""

    def __init__(self, declared: Mapping[str, Any], host: Host) -> None:
        self._command = [host.translated(part) for part in declared["command"]]
        self._check = [host.translated(part) for part in declared["healthcheck"]["test"]]
        given = {name: host.translated(value) for name, value in declared["environment"].items()}
        self._environ = {
            "PATH": _search_path(),
            "FLOWER_PORT": str(host.flower_port),
            **image_environ(),
            **given,
            **reaper.mark(),
        }
        self._folder = host.folder

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environ,
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        reaper.adopt(self._process.pid)  # it may be Redis
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(STOP_DEADLINE_S)

    @property
    def _log(self) -> Path:
        return self._folder / "services.log"

    def healthy(self) -> bool:
        """Run the service's own health check."""
        kind, *rest = self._check
        command = ["sh", "-c", *rest] if kind == "CMD-SHELL" else rest
        try:
            return _succeeds(command, self._environ, self._folder)
        except subprocess.TimeoutExpired:
            return False

    def wait_until_healthy(self) -> None:
        """Ask the health check until it is content; say what the processes said if it never is."""
        try:
            eventually(lambda: self._ended() or self.healthy(), "the service is healthy", HEALTHY_DEADLINE_S)
            assert not self._ended(), "the service ended"
        except (TimeoutError, AssertionError) as error:
            error.add_note(self._log.read_text(errors="replace")[-4000:])
            raise

    def hang(self) -> None:
        """Stop the process from doing anything."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let a process that hangs go on."""
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> int:
        """Ask the process to end, as Compose does, and give its exit code; it has 10 seconds."""
        self._process.terminate()
        return self._process.wait(STOP_DEADLINE_S)

    def _ended(self) -> bool:
        return self._process.poll() is not None


def _search_path() -> str:
    """Give a search path with this environment's commands and some Redis's."""
    folders = (Path(sys.executable).parent, Path(redis_server.executable()).parent)
    return os.pathsep.join([*map(str, folders), os.environ["PATH"]])


def _succeeds(command: Sequence[str], environ: Mapping[str, str], folder: Path) -> bool:
    # In a session of its own, so that the shell's children end with it when time is up.
    with subprocess.Popen(
        command,
        env=environ,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            return process.wait(HEALTH_CHECK_S) == 0
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
