"""Connections to Redis for questions that are asked once: no retry, and an answer within seconds."""

from redis.backoff import NoBackoff
from redis.retry import Retry

from pointsman_shared.settings import Settings
from pointsman_shared.store.connection import Store

TIMEOUT_S = 2.0


def connect(settings: Settings, timeout_s: float = TIMEOUT_S) -> Store:
    """Open a connection whose commands fail at once when Redis does not answer."""
    return Store.connect(
        settings, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0)
    )
