"""The one place that opens a connection to Redis and translates Redis's errors into ours."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Final, Self

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.client import Pipeline
from redis.exceptions import (
    AskError,
    ClusterCrossSlotError,
    ClusterDownError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
    WatchError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.typing import KeyT

from pointsman_shared import errors
from pointsman_shared.settings import Settings
from pointsman_shared.store.keys import Keys

# A silent peer is noticed in this time instead of never.
SOCKET_OPTIONS: Final[dict[str, Any]] = {
    "socket_timeout": 15,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
}
RETRIES: Final = 6
# How long the clock of Redis is known without asking it again.
CLOCK_S: Final = 30.0
PATIENT_TIMEOUT_S: Final = 5
FULL: Final = "Redis is full (maxmemory): nothing was submitted or changed; try again when work has been done"
NO_CLUSTER: Final = (
    "POINTSMAN_REDIS_URL leads to a Redis Cluster, which is not supported: "
    "use one server, with a replica if you like"
)
# What redis-py raises where Redis answers, but refuses; and all that it raises.
REFUSED: Final = ResponseError
FAILED: Final = RedisError
# What a caller that needs Redis may get from any call; both are retryable.
UNAVAILABLE: Final = (errors.BrokerUnavailableError, errors.QueueFullError)


class Store(Redis):
    """A connection to Redis that raises `BrokerUnavailableError` or `QueueFullError` instead of Redis's own errors."""

    keys: Keys  # type: ignore[assignment]  # instead of the command KEYS, which nothing should use
    """The names of its deployment."""
    # When Redis was asked for its time, by the monotonic clock of this machine, and what it said.
    _clock = (float("-inf"), 0.0)

    @classmethod
    def connect(cls, settings: Settings, **options: Any) -> Self:  # noqa: ANN401  redis-py's options
        """Open a connection to the Redis of the settings. Nothing is sent yet."""
        url = settings.redis_url.get_secret_value()
        store: Self = cls.from_url(url, **{**SOCKET_OPTIONS, **options})  # type: ignore[assignment]  # it is one of cls
        store.keys = Keys(settings.namespace)
        return store

    @classmethod
    def connect_patiently(cls, settings: Settings) -> Self:
        """Open a connection that retries during an outage of a few seconds, so that no work is done twice."""
        retry = Retry(ExponentialBackoff(cap=1.0, base=0.05), retries=RETRIES)
        on_error = [RedisConnectionError, RedisTimeoutError]
        return cls.connect(settings, retry=retry, retry_on_error=on_error, socket_timeout=PATIENT_TIMEOUT_S)

    def now(self) -> float:
        """Return the time by Redis's clock, in seconds since the epoch: machines may disagree, and share this one."""
        asked_at, redis_time = self._clock
        if time.monotonic() - asked_at > CLOCK_S:
            seconds, microseconds = self.time()
            asked_at, redis_time = self._clock = time.monotonic(), seconds + microseconds / 1e6
        return redis_time + time.monotonic() - asked_at

    def require_one_server(self) -> None:
        """Raise SettingsError if the server is part of a cluster; one that does not tell passes."""
        try:
            found: dict[str, Any] = self.info("cluster")
        except errors.BrokerUnavailableError as error:
            # An ACL may forbid the question.
            if not isinstance(error.__cause__, ResponseError):
                raise
        else:
            if found.get("cluster_enabled"):
                raise errors.SettingsError(NO_CLUSTER)

    def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401  redis-py's signature
        """Send one command."""
        with translated():
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]  # redis-py's

    def get(self, name: KeyT) -> bytes | None:
        """Read a value; the connection does not decode."""
        value: bytes | None = super().get(name)  # type: ignore[assignment]  # never text, see above
        return value

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> "TranslatingPipeline":
        """Collect commands that are sent together."""
        return TranslatingPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class TranslatingPipeline(Pipeline):
    """A pipeline whose errors are ours."""

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send what was collected."""
        with translated():
            return super().execute(raise_on_error)


class Piecemeal(Redis):
    """A client for kombu whose pipelines are no transactions: a full Redis refuses all of one, even what only deletes."""

    def pipeline(self, transaction: bool = False, shard_hint: str | None = None) -> Pipeline:  # noqa: ARG002  redis-py's
        """Collect commands that are sent together."""
        return super().pipeline(False, shard_hint)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Translate Redis's errors, but for those that callers handle: a script that is not loaded, a watched key."""
    try:
        yield
    except (NoScriptError, WatchError):
        raise
    except RedisError as error:
        raise explained(error) from error


def is_of_cluster(error: BaseException | None) -> bool:
    """Return whether only a server of a cluster answers so."""
    answers = ClusterDownError, AskError, ClusterCrossSlotError
    return isinstance(error, answers) and not isinstance(error, MasterDownError)


def is_full(error: Exception) -> bool:
    """Return whether an error of redis-py's, or of kombu's, says that Redis is full; one of a script has no class of its own."""
    return isinstance(error, OutOfMemoryError) or "maxmemory" in str(error)


def explained(error: Exception) -> errors.PointsmanError:
    """Return the error of ours that says what one of redis-py's, or of kombu's, means."""
    if is_of_cluster(error):
        return errors.SettingsError(NO_CLUSTER)
    if is_full(error):
        return errors.QueueFullError(FULL)
    return errors.BrokerUnavailableError(f"Redis cannot be reached: {error}")
