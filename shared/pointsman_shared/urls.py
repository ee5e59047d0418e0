"""Whether a URL of Redis, or of another broker, can be used at all.

Found out where it is read, since whatever would fail later quotes a part of it: of a password, as often as not.
"""

import re
from typing import Final
from urllib.parse import urlsplit

from redis import ConnectionPool
from redis.exceptions import RedisError

REDIS_SCHEMES: Final = ("redis", "rediss")
_DATABASE = re.compile(r"/?|/\d{1,4}")
EXPECTED: Final = (
    "expected redis://[USER:PASSWORD@]HOST:PORT/NUMBER, or rediss:// for TLS; "
    "what is no letter or digit in a password must be percent-encoded"
)
NO_SENTINEL: Final = (
    "Sentinel is not supported: give one address that follows the primary, as docs/deployment.md describes"
)


def problem_of_redis(url: str) -> str | None:
    """Say why a URL cannot be that of our Redis, quoting nothing of it; None if it can."""
    if _scheme(url) == "sentinel":
        return NO_SENTINEL
    try:
        parts = urlsplit(url)
        sound = parts.hostname and not parts.fragment and _DATABASE.fullmatch(parts.path)
        if parts.scheme not in REDIS_SCHEMES or not sound:
            return EXPECTED
        # An option that redis-py does not know comes to light when a connection is made; none is opened here.
        pool = ConnectionPool.from_url(url)
        pool.connection_class(**pool.connection_kwargs)
    except (ValueError, TypeError, RedisError):
        return EXPECTED
    return None


def problem_of_broker(url: str) -> str | None:
    """Say why a URL cannot be a broker's, quoting nothing of it; None if it can."""
    # Late: whoever only reads settings needs no Celery.
    from kombu.transport import TRANSPORT_ALIASES  # noqa: PLC0415

    scheme = _scheme(url)
    if scheme in (*REDIS_SCHEMES, "sentinel"):
        return problem_of_redis(url)
    return None if scheme in TRANSPORT_ALIASES else "its scheme names no transport of Celery's"


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()
