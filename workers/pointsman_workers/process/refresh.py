"""Background work of each worker process: load new champions, and report to Redis what the process serves."""

import os
import platform
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import metadata
from typing import Any, Final

import orjson

from pointsman_shared.store.connection import Store
from pointsman_workers.process.declared import DeclaredTiers
from pointsman_workers.process.loaded_models import LoadedModels

REFRESH_S: Final = 1.0
REPORT_S: Final = 10.0
REPORT_TTL_S: Final = 60
_PACKAGES = ("pointsman", "celery", "redis", "scikit-learn", "configcat-client")


class Refresh:
    """Keeps a process's models up to date, and its report in Redis."""

    def __init__(
        self,
        models: LoadedModels,
        tiers: DeclaredTiers,
        store: Store,
        flag_state: Callable[[], Any],
        problems: Sequence[Callable[[], list[str]]] = (),
    ) -> None:
        self._models = models
        self._tiers = tiers
        self._store = store
        self._flag_state = flag_state
        self._sources = (models.problems, tiers.problems, *problems)
        self._reported: tuple[float, object] = (float("-inf"), None)

    def step(self) -> float:
        """Load new champions; report when something changed, or after ten seconds."""
        self._tiers.refresh()
        self._models.refresh()
        news = (self._served(), self._problems(), self._flag_state().etag)
        at, before = self._reported
        if news != before or time.monotonic() - at > REPORT_S:
            self._report(*news[:2])
            self._reported = (time.monotonic(), news)
        return REFRESH_S

    def withdraw(self) -> None:
        """Delete the report of a process that ends."""
        self._store.delete(self._key())

    def _report(self, served: dict[str, int | None], problems: list[str]) -> None:
        pipeline = self._store.pipeline()
        pipeline.hset(self._key(), mapping=self._fields(served, problems))  # type: ignore[arg-type]  # text is fine
        pipeline.expire(self._key(), REPORT_TTL_S)
        pipeline.execute()

    def _served(self) -> dict[str, int | None]:
        """Return the version of each tier; None for one that users should be served by, but that has no model."""
        return {**dict.fromkeys(sorted(self._tiers.routing.tiers)), **self._models.versions()}

    def _problems(self) -> list[str]:
        return [problem for source in self._sources for problem in source()]

    def _fields(self, served: dict[str, int | None], problems: list[str]) -> dict[str, str]:
        return {
            "host": socket.gethostname(),
            "pid": str(os.getpid()),
            "updated_at": str(self._store.now()),
            "tiers": orjson.dumps(served).decode(),
            "flags": orjson.dumps(asdict(self._flag_state())).decode(),
            "problems": orjson.dumps(problems).decode(),
            "versions": orjson.dumps(versions()).decode(),
        }

    def _key(self) -> str:
        return self._store.keys.process(socket.gethostname(), os.getpid())


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide how a worker behaves."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}}
