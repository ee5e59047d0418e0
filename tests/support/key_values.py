"""Stores for the flag configuration: a dictionary, and a real Redis."""

from types import TracebackType
from typing import Self

import redis


class DictStore:
    """A store in memory. While `away` is set, it cannot be reached."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.away = False
        self.reads = 0

    def get(self, key: str) -> bytes | None:
        self.reads += 1
        self._check()
        return self.values.get(key)

    def set(self, key: str, value: bytes) -> None:
        self._check()
        self.values[key] = value

    def _check(self) -> None:
        if self.away:
            msg = "redis://:secret@nowhere refused"
            raise ConnectionError(msg)


class RedisStore:
    """A store in Redis."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, key: str) -> bytes | None:
        value = self._client.get(key)
        assert value is None or isinstance(value, bytes)
        return value

    def set(self, key: str, value: bytes) -> None:
        self._client.set(key, value)
