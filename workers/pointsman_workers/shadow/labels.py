"""The labels that people gave to jobs, as Redis holds them."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from pointsman_shared.store import scripts
from pointsman_shared.store.connection import Store

LABEL: Final = scripts.load(__file__, "label")


def store_label(store: Store, job: str, row: Mapping[str, Any]) -> None:
    """Store a label: `{text, intent, tier, at, by}`. A correction keeps its place in the order."""
    LABEL(store, labels=store.keys.labels, count=store.keys.labels_count, job=job, row=orjson.dumps(row))


def read_labels(store: Store) -> dict[str, dict[str, Any]]:
    """Return all labels by job, in the order in which they first arrived."""
    stored: Mapping[bytes, bytes] = store.hgetall(store.keys.labels)  # type: ignore[assignment]
    rows = ((job.decode(), orjson.loads(row)) for job, row in stored.items())
    return dict(sorted(rows, key=lambda item: item[1]["place"]))
