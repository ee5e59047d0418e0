"""The deployment that runs in this folder: its launcher announces it, and other commands find it.

The launcher holds a lock for as long as it lives, so the state file of a killed launcher is ignored.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from pointsman_shared import errors
from pointsman_shared.settings import PREFIX, Settings

STATE_DIR = Path(".pointsman")
LOCK_NAME = "up.lock"
FILE_NAME = "up.json"
REDIS_URL_VARIABLE = PREFIX + "REDIS_URL"
NAMESPACE_VARIABLE = PREFIX + "NAMESPACE"
# Other commands hold the lock only for the moment in which they look for a deployment.
LOCK_PATIENCE_S = 0.3


@contextlib.contextmanager
def claim(state_dir: Path) -> Iterator[None]:
    """Be the only launcher in a state folder; raise BusyError if another one runs there."""
    state_dir.mkdir(parents=True, exist_ok=True)
    # It holds texts, which other users of the machine must not read.
    state_dir.chmod(0o700)
    with (state_dir / LOCK_NAME).open("a") as lock:
        deadline = time.monotonic() + LOCK_PATIENCE_S
        while not _lock(lock):
            if time.monotonic() > deadline:
                msg = f"a deployment already runs in {state_dir}: stop it first, or work in another folder"
                raise errors.BusyError(msg)
            time.sleep(0.05)
        try:
            yield
        finally:
            (state_dir / FILE_NAME).unlink(missing_ok=True)


def _lock(lock: IO[str]) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def announce(state_dir: Path, settings: Settings, *, is_ours: bool = True) -> None:
    """Announce the Redis and the namespace to the other commands of this folder; only this user may read them.

    Of a Redis that is not ours, the password stays in the environment.
    """
    url = settings.redis_url.get_secret_value() if is_ours else shown_url(settings)
    partial = state_dir / (FILE_NAME + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        json.dump({"redis_url": url, "namespace": settings.namespace}, file)
    partial.replace(state_dir / FILE_NAME)


def running(state_dir: Path = STATE_DIR) -> Settings | None:
    """Return the settings by which the deployment that runs in a state folder is reached, if there is one."""
    try:
        with (state_dir / LOCK_NAME).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        # Without a usable file, the launcher is still starting, or belongs to another version of Pointsman.
        with contextlib.suppress(OSError, ValueError):
            return Settings.model_validate_json((state_dir / FILE_NAME).read_text(encoding="utf-8"))
    except OSError:
        pass
    return None


def settings(environ: Mapping[str, str] | None = None, state_dir: Path = STATE_DIR) -> Settings:
    """Read the settings; if the environment names no Redis, take that of the deployment that runs in this folder."""
    environ = os.environ if environ is None else environ
    from_env = Settings.from_env(environ)
    found = None if environ.get(REDIS_URL_VARIABLE) else running(state_dir)
    if found is None:
        return from_env
    namespace = from_env.namespace if environ.get(NAMESPACE_VARIABLE) else found.namespace
    return from_env.model_copy(update={"redis_url": found.redis_url, "namespace": namespace})


def shown_url(settings: Settings) -> str:
    """Return the URL of Redis without its user, password and options."""
    parts = urlsplit(settings.redis_url.get_secret_value())
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
