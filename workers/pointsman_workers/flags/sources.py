"""The sources of the flag configuration in a worker process: a file, or the store that its parent process fills.

A source always returns the last usable configuration, and describes in `problem` what is wrong with a newer one.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, Self

from pointsman_shared import errors
from pointsman_workers.flags import config_json

# A file that changed this recently can change again without a new time stamp, so its stamp is not trusted yet.
SETTLING_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigEntry:
    """One version of the flag configuration."""

    etag: str
    fetched_at: float
    """When it was last read from its origin or confirmed there, seconds since the epoch."""
    document: str
    """The config JSON v6."""

    def serialize(self) -> str:
        """Return the ConfigCat SDKs' common cache format: time in milliseconds, etag and document, a line each."""
        return f"{self.fetched_at * 1000:.0f}\n{self.etag}\n{self.document}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the cache format. An entry without an etag gets one from its content."""
        fetched_ms, _, rest = text.partition("\n")
        etag, newline, document = rest.partition("\n")
        if not newline or not fetched_ms.isdecimal():
            msg = "not a stored flag configuration: expected time, etag and config JSON, a line each"
            raise errors.InvalidDataError(msg)
        return cls(
            etag=etag or config_json.make_etag("content", document.encode()),
            fetched_at=int(fetched_ms) / 1000,
            document=config_json.check(document),
        )


class ConfigSource(Protocol):
    """The place from which `ConfigCatFlags` reads the configuration."""

    @property
    def name(self) -> str:
        """The name for operators: `file` or `configcat`."""

    @property
    def problem(self) -> str | None:
        """The reason why the configuration may be out of date; None after a successful read."""

    @property
    def refusal(self) -> str | None:
        """Why the newest configuration was refused; None if it serves, or if only the way to it is interrupted."""

    def read(self) -> ConfigEntry | None:
        """Return the last usable configuration, or None if there never was one. Never raises."""


def refusal_key(key: str) -> str:
    """Name the key beside that of the configuration: why a newer one was refused, or nothing."""
    return f"{key}:refused"


class KeyValue(Protocol):
    """The store to which a worker's parent writes the configuration, and from which its children read it."""

    def get(self, key: str, /) -> bytes | None:
        """Return the value of a key."""

    def set(self, key: str, value: bytes, /) -> object:
        """Store the value of a key, without an expiry."""


class FileSource:
    """A flag configuration (config JSON v6) in a local file, read again when the file changes."""

    name = "file"

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._stamp: tuple[int, int, int] | None = None
        self._entry: ConfigEntry | None = None
        self._problem: str | None = None

    @property
    def problem(self) -> str | None:
        """What is wrong with the file now."""
        return self._problem

    @property
    def refusal(self) -> str | None:
        """The same: a file that is away is a mistake, too."""
        return self._problem

    def read(self) -> ConfigEntry | None:
        """Return the last usable content of the file; costs one `stat` while the file is unchanged."""
        try:
            stamp = self._look()
            if stamp is None or stamp != self._stamp:
                self._stamp = stamp
                self._entry, self._problem = self._load(), None
        except errors.InvalidDataError as error:
            self._problem = f"{self._path}: {error}"
        except OSError as error:
            self._stamp, self._problem = None, f"{self._path}: {error.strerror}"
        return self._entry

    def _look(self) -> tuple[int, int, int] | None:
        status = os.stat(self._path)
        if self._clock() - status.st_mtime < SETTLING_S:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _load(self) -> ConfigEntry:
        content = self._path.read_bytes()
        etag = config_json.make_etag("file", content)
        if self._entry is not None and self._entry.etag == etag:
            return self._entry
        return ConfigEntry(
            etag=etag, fetched_at=self._clock(), document=config_json.check(config_json.decode(content))
        )


class StoreSource:
    """The flag configuration that the parent process fetched from ConfigCat into the store, under a key."""

    name = "configcat"

    def __init__(self, store: KeyValue, key: str) -> None:
        self._store = store
        self._key = key
        self._raw: bytes | None = None
        self._entry: ConfigEntry | None = None
        self._problem: str | None = None
        self._refusal: str | None = None

    @property
    def problem(self) -> str | None:
        """What is wrong with the store, its content or ConfigCat's last answer."""
        return self._problem or self._refusal

    @property
    def refusal(self) -> str | None:
        """Why the parent process refused ConfigCat's last answer."""
        return self._refusal

    def read(self) -> ConfigEntry | None:
        """Return the last usable configuration of the store; costs two reads."""
        try:
            raw = self._store.get(self._key)
            self._refusal = (self._store.get(refusal_key(self._key)) or b"").decode() or None
        except Exception as error:  # any client may be behind the port; the error's text may hold an address
            self._raw = None
            self._problem = f"the stored flag configuration cannot be read: {type(error).__name__}"
            return self._entry
        if raw is None:
            self._raw, self._problem = None, "no flag configuration has been fetched from ConfigCat yet"
        elif raw != self._raw:
            self._raw = raw
            self._accept(raw)
        return self._entry

    def _accept(self, raw: bytes) -> None:
        try:
            self._entry, self._problem = ConfigEntry.parse(config_json.decode(raw)), None
        except errors.InvalidDataError as error:
            self._problem = f"the stored flag configuration is unusable: {error}"
