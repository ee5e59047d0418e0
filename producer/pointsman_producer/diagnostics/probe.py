"""Read how a deployment is: the queues, the workers, the state of each worker process, the shadow work."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kombu.exceptions import KombuError
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from pointsman_shared import errors, names
from pointsman_shared.broker import config as broker_config
from pointsman_shared.settings import Settings
from pointsman_shared.store import backpressure
from pointsman_shared.store.connection import Store
from pointsman_shared.store.keys import Keys

QUEUES = (*names.SERVING_QUEUES, names.TRAIN_QUEUE)
# Where a Celery application puts what it sends without a queue, or to a queue without the namespace.
STRAY = ("celery", *QUEUES, names.SHADOW_QUEUE)
OURS = re.compile(rf'"task":\s*"{re.escape(names.TASK_PREFIX)}'.encode())
MOST_LOOKED = 1_000
ANSWER_TIMEOUT_S = 2.0
# A pair without texts for longer is not compared any more.
RECENT_S = 86_400.0
# The names of the counts in Redis: see `pointsman_models.comparison.counts`.
_MISSED = ("missed", "shed"), ("missed", "failed")
_COMPARED = ("texts", "day")

Process = dict[str, Any]
"""The state of a worker process: `host`, `pid`, `updated_at`, `tiers`, `flags`, `problems`, `versions`."""
Trouble = dict[str, Any]
"""A candidate that does not do its work: `version`, `reason`, `failures` in a row, paused `until`."""


def server(store: Store) -> Mapping[str, Any]:
    """Return what the server says of itself; nothing if its `INFO` is renamed or forbidden."""
    store.ping()
    try:
        info: Mapping[str, Any] = store.info()
    except errors.BrokerUnavailableError as error:
        if isinstance(error.__cause__, ResponseError):
            return {}
        raise
    return info


def queues(store: Store) -> dict[str, tuple[int, float | None]]:
    """Return the length of each queue, and for how many seconds its next message has waited, if that is known."""
    return {name: backpressure.look(store, name) for name in QUEUES}


def strays(store: Store) -> dict[str, int]:
    """Count the messages for tasks of ours in queues that are not ours, of the next ones in each."""
    read = {store.keys.queue(name) for name in (*QUEUES, names.SHADOW_QUEUE)}
    unread = {key.decode(errors="replace") for key in store.scan_iter(store.keys.queue("*"))} - read
    counts = {name: _count_ours(store, name) for name in (*STRAY, *sorted(unread))}
    return {name: count for name, count in counts.items() if count}


def _count_ours(store: Store, name: str) -> int:
    try:
        if store.type(name) != b"list":
            return 0
        messages: Any = store.lrange(name, -MOST_LOOKED, -1)
    except errors.BrokerUnavailableError as error:
        # An ACL may allow the deployment's own keys only.
        if isinstance(error.__cause__, NoPermissionError):
            return 0
        raise
    return len(list(filter(OURS.search, messages)))


def in_flight(store: Store) -> int:
    """Count the messages that workers have taken and not finished."""
    return sum(int(store.hlen(key)) for key in (store.keys.unacked, store.keys.train_unacked))


def consumers(settings: Settings) -> dict[str, set[str]]:
    """Ask all workers which queues they consume, by their short names; a worker that does not answer in time is missing."""
    keys = Keys(settings.namespace)
    try:
        with broker_config.make_app(settings) as app:
            answers = app.control.inspect(timeout=ANSWER_TIMEOUT_S).active_queues() or {}
    except (KombuError, RedisError, OSError) as error:
        msg = f"the broker takes no question: {error}"
        raise errors.BrokerUnavailableError(msg) from error
    return {
        worker: {keys.short(queue["name"]) for queue in queues if keys.is_queue(queue["name"])}
        for worker, queues in answers.items()
    }


def processes(store: Store) -> list[Process]:
    """Read the states of the worker processes of all machines."""
    stored: Iterator[Any] = map(store.hgetall, store.scan_iter(store.keys.process("*", "*"), count=1000))
    # A state may expire between the two commands.
    found = [process(fields) for fields in stored if fields]
    return sorted(found, key=lambda each: (each["host"], each["pid"]))


def process(fields: Mapping[bytes, bytes]) -> Process:
    """Read the hash that a worker process writes."""
    parsed = ("tiers", "flags", "problems", "versions")
    return {
        "host": fields[b"host"].decode(),
        "pid": int(fields[b"pid"]),
        "updated_at": float(fields[b"updated_at"]),
        **{name: json.loads(fields[name.encode()]) for name in parsed},
    }


def shadow_waiting(store: Store) -> tuple[int, float | None, int]:
    """Return how many served messages wait to be compared, when the first was served, and their bytes."""
    first: Any = store.zrange(store.keys.shadow_waiting, 0, 0)
    served_at: Any = store.hget(store.keys.shadow_kept(first[0].decode()), "served_at") if first else None
    used_bytes = int(store.get(store.keys.shadow_bytes) or 0)
    return int(store.zcard(store.keys.shadow_waiting)), float(served_at) if served_at else None, used_bytes


def shadow_uncounted(store: Store) -> list[int]:
    """Count the messages that were neither compared nor counted as missed: the dropped and the unreadable ones."""
    counts: Any = store.hmget(store.keys.stats, [names.SHADOW_DROPPED, names.SHADOW_UNREADABLE])
    return [int(count or 0) for count in counts]


def shadow_counts(store: Store, now: float) -> dict[str, tuple[int, dict[str, int]]]:
    """Return, of each pair of the last day, the compared texts and the missed ones by reason."""
    pairs: Mapping[bytes, bytes] = store.hgetall(store.keys.shadow_pairs)  # type: ignore[assignment]
    found: dict[str, tuple[int, dict[str, int]]] = {}
    for pair in (pair.decode() for pair, last_at in pairs.items() if float(last_at) > now - RECENT_S):
        compared, missed = 0, {}
        stored: Mapping[bytes, bytes] = store.hgetall(store.keys.shadow_counts(pair))  # type: ignore[assignment]
        for field, count in stored.items():
            kind, group, *rest = json.loads(field)
            if (kind, group) in _MISSED:
                missed[rest[0]] = int(count)
            if (kind, group) == _COMPARED:
                compared += int(count)
        found[pair] = compared, missed
    return found


def shadow_troubles(store: Store) -> list[Trouble]:
    """Read which candidates do not do their work."""
    stored: Mapping[bytes, bytes] = store.hgetall(store.keys.shadow_trouble)  # type: ignore[assignment]
    return [{"version": version.decode(), **json.loads(state)} for version, state in sorted(stored.items())]
