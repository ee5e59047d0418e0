"""The labels that people gave to jobs: they are compared with answers, and trained on."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from pointsman_shared.settings import Settings
from pointsman_shared.store import scripts
from pointsman_shared.store.connection import Store

LABEL: Final = scripts.load(__file__, "label")
PAGE: Final = 1_000


class Labels:
    """The labels of a deployment. All methods raise `connection.UNAVAILABLE` if Redis is away or full."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._retention_s = settings.label_retention_s

    def add(self, job: str, row: Mapping[str, Any]) -> None:
        """Store a label: `{text, intent, tier, by}`; it gets `at`, and a `place` that a correction keeps."""
        LABEL(
            self._store,
            labels=self._store.keys.labels,
            times=self._store.keys.label_times,
            count=self._store.keys.labels_count,
            job=job,
            row=orjson.dumps(row),
            at=self._store.now(),
            retention=self._retention_s,
        )

    def all(self) -> dict[str, dict[str, Any]]:
        """Return all labels by job, in the order in which they first arrived."""
        return self._in_order(self._store.hscan_iter(self._store.keys.labels, count=PAGE))

    def of(self, jobs: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the labels of some jobs, in the same order."""
        wanted = list(jobs)
        if not wanted:
            return {}
        found: Any = self._store.hmget(self._store.keys.labels, wanted)
        return self._in_order((job.encode(), row) for job, row in zip(wanted, found, strict=True) if row)

    def _in_order(self, stored: Iterable[tuple[bytes, bytes]]) -> dict[str, dict[str, Any]]:
        # A label past its time goes when the next one comes.
        oldest = self._store.now() - self._retention_s
        rows = ((job.decode(), orjson.loads(row)) for job, row in stored)
        return dict(
            sorted((item for item in rows if item[1]["at"] > oldest), key=lambda item: item[1]["place"])
        )
