"""Reading how a deployment is: Redis, the queues, the workers, what each worker process says it serves."""

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from pointsman_producer.client import single_try
from pointsman_producer.diagnostics import shadow_probe
from pointsman_shared import errors, names
from pointsman_shared.broker import config as broker_config
from pointsman_shared.settings import Settings
from pointsman_shared.store import keys

PROCESS_KEYS = keys.process("*", 0).removesuffix("0") + "*"
QUEUES = (*names.SERVING_QUEUES, names.TRAIN_QUEUE)
# Where kombu's Redis transport keeps what was taken from a queue and is not acknowledged yet.
UNACKNOWLEDGED_KEYS = ("unacked", f"unacked:{names.TRAIN_QUEUE}")
ANSWER_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisReport:
    """The Redis server.

    Attributes:
        version: Its version.
        eviction: Its maxmemory-policy; None where it does not say.
        is_persistent: Whether it has an append-only file; None where it does not say.
        fill: The share of its maxmemory that is used; None without one.
    """

    version: str
    eviction: str | None
    is_persistent: bool | None
    fill: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReport:
    """One queue.

    Attributes:
        name: Its name.
        length: How many messages wait.
        age_s: How long the next one has waited; None where it does not say when it was sent.
    """

    name: str
    length: int
    age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReport:
    """What one worker process says of itself.

    Attributes:
        host: Its machine.
        pid: Its process id there.
        updated_at: When it said so, in seconds since the epoch.
        tiers: The version it serves of each tier.
        flags: `source`, `etag`, `fetched_at` and `problem` of its flag configuration.
        problems: What it could not take over, and why.
        versions: Those of Python and of the packages that matter.
    """

    host: str
    pid: int
    updated_at: float
    tiers: Mapping[str, int]
    flags: Mapping[str, Any]
    problems: tuple[str, ...]
    versions: Mapping[str, str]

    @classmethod
    def parse(cls, fields: Mapping[bytes, bytes]) -> Self:
        """Read the hash a worker process writes.

        Raises:
            ValueError: A field has no value that can be read.
            KeyError: A field is missing.
        """
        return cls(
            host=fields[b"host"].decode(),
            pid=int(fields[b"pid"]),
            updated_at=float(fields[b"updated_at"]),
            tiers=json.loads(fields[b"tiers"]),
            flags=json.loads(fields[b"flags"]),
            problems=tuple(json.loads(fields[b"problems"])),
            versions=json.loads(fields[b"versions"]),
        )


class Probe:
    """Asks a deployment how it is.

    Args:
        settings: Where it is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._redis = single_try.connect(settings)

    def close(self) -> None:
        """Give the connection back."""
        self._redis.close()

    def redis(self) -> RedisReport:
        """Ask the Redis server.

        Raises:
            BrokerUnavailableError: It does not answer.
        """
        info: Mapping[str, Any] = self._redis.info()
        return RedisReport(
            version=str(info.get("redis_version", "unknown")),
            eviction=info.get("maxmemory_policy"),
            is_persistent=bool(info["aof_enabled"]) if "aof_enabled" in info else None,
            fill=info["used_memory"] / info["maxmemory"] if info.get("maxmemory") else None,
        )

    def has_queues_here(self) -> bool:
        """Say whether the queues are in this Redis, and not with another broker."""
        return True

    def queues(self, now: float | None = None) -> list[QueueReport]:
        """Look at the queues."""
        now = time.time() if now is None else now
        return [self._queue(name, now) for name in QUEUES]

    def unacknowledged(self) -> int:
        """Count the messages that workers have taken and not finished."""
        return sum(int(self._redis.hlen(key)) for key in UNACKNOWLEDGED_KEYS)

    def consumers(self) -> dict[str, set[str]]:
        """Ask all Celery workers which queues they consume; those that do not answer in time are missing.

        Raises:
            BrokerUnavailableError: The broker does not take the question.
        """
        try:
            with broker_config.make_app(self._settings) as app:
                answers = app.control.inspect(timeout=ANSWER_TIMEOUT_S).active_queues() or {}
        except (KombuError, RedisError, OSError) as error:
            msg = f"the broker takes no question: {error}"
            raise errors.BrokerUnavailableError(msg) from error
        return {worker: {queue["name"] for queue in queues} for worker, queues in answers.items()}

    def processes(self) -> list[ProcessReport]:
        """Read what the worker processes say of themselves, whichever machine they are on."""
        reports = []
        for key in self._redis.scan_iter(PROCESS_KEYS, count=1000):
            fields: Mapping[Any, Any] = self._redis.hgetall(key)
            # It may expire between the two commands.
            if fields:
                reports.append(ProcessReport.parse(fields))
        return sorted(reports, key=lambda report: (report.host, report.pid))

    def shadow(self) -> shadow_probe.ShadowState:
        """Look at the shadow work."""
        return shadow_probe.read(self._redis, self._settings.shadow_max_mib, time.time())

    def _queue(self, name: str, now: float) -> QueueReport:
        length = int(self._redis.llen(name))
        oldest: Any = self._redis.lindex(name, -1) if length else None
        sent_at = submitted_at(oldest) if oldest is not None else None
        age_s = max(0.0, now - sent_at) if sent_at is not None else None
        return QueueReport(name=name, length=length, age_s=age_s)


def submitted_at(raw: bytes) -> float | None:
    """Read when a queued message was submitted, and nothing else of it; None where it does not say."""
    try:
        message = json.loads(raw)
        arguments = json.loads(base64.b64decode(message["body"]))[0]
        return float(arguments[0]["submitted_at"])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None
