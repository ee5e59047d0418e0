"""What a worker process does beside its messages: take over new versions, say what it serves."""

import logging
import os
import platform
import socket
import threading
import time
from collections.abc import Mapping
from importlib import metadata
from typing import Protocol

import orjson

from pointsman_shared import errors
from pointsman_workers.serving.loaded_models import Residents

logger = logging.getLogger(__name__)

REFRESH_S = 1.0
DESCRIBE_S = 10.0
_PACKAGES = ("pointsman", "celery", "redis", "scikit-learn", "configcat-client")


class FlagState(Protocol):
    """What the flags adapter says of its configuration."""

    @property
    def source(self) -> str: ...  # noqa: D102  a field
    @property
    def etag(self) -> str | None: ...  # noqa: D102  a field
    @property
    def fetched_at(self) -> float | None: ...  # noqa: D102  a field
    @property
    def problem(self) -> str | None: ...  # noqa: D102  a field


class StatefulFlags(Protocol):
    """The flags adapter, as far as upkeep is concerned."""

    def state(self) -> FlagState:
        """Say where the flag configuration comes from and how old it is."""
        ...


class ProcessBook(Protocol):
    """Where a process says what it serves."""

    def describe_process(self, host: str, pid: int, fields: Mapping[str, str]) -> None:
        """Write it down, or raise a RetryableError."""
        ...


class Troubled(Protocol):
    """Somebody else in the process who may have problems."""

    def problems(self) -> list[str]:
        """Say which."""
        ...


class Upkeep:
    """A daemon thread of one worker process."""

    def __init__(
        self, residents: Residents, flags: StatefulFlags, book: ProcessBook, *, also: Troubled | None = None
    ) -> None:
        self._also = also
        self._residents = residents
        self._flags = flags
        self._book = book
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pointsman-upkeep", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the step under way."""
        self._stopped.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        described: tuple[float, object] | None = None
        while not self._stopped.wait(REFRESH_S if described else 0):
            self._residents.refresh()
            news = (dict(self._residents.versions()), self._problems())
            if described is None or described[1] != news or time.monotonic() - described[0] > DESCRIBE_S:
                self._describe()
                described = (time.monotonic(), news)

    def _describe(self) -> None:
        try:
            self._book.describe_process(socket.gethostname(), os.getpid(), self._fields())
        except errors.RetryableError as error:
            logger.warning("this process could not say what it serves: %s", type(error).__name__)

    def _problems(self) -> list[str]:
        return [*self._residents.problems(), *(self._also.problems() if self._also else [])]

    def _fields(self) -> dict[str, str]:
        state = self._flags.state()
        flags = {
            "source": state.source,
            "etag": state.etag,
            "fetched_at": state.fetched_at,
            "problem": state.problem,
        }
        return {
            "host": socket.gethostname(),
            "pid": str(os.getpid()),
            "updated_at": str(time.time()),
            "tiers": orjson.dumps(self._residents.versions()).decode(),
            "flags": orjson.dumps(flags).decode(),
            "problems": orjson.dumps(self._problems()).decode(),
            "versions": orjson.dumps(versions()).decode(),
        }


def versions() -> dict[str, str]:
    """Give the versions of Python and of the packages that decide how a worker behaves."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}}
