"""The declared tiers of a process: read again when `tiers.toml` changes, so that a new tier needs no restart."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from pointsman_models.data import tiers
from pointsman_shared import errors, names


class DeclaredTiers(Mapping[str, tiers.Tier]):
    """The tiers by name, and their routing. A broken file leaves the last good declaration in force."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._look()
        self._declared = tiers.declaration(path)
        self._problem: str | None = None

    @property
    def routing(self) -> tiers.Routing:
        """How the flag leads to a tier."""
        return self._declared.routing

    def refresh(self) -> None:
        """Read the declaration again if the file has changed."""
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._declared, self._problem = tiers.declaration(self._path), None
        except errors.SettingsError as error:
            self._problem = str(error)

    def current(self) -> Self:
        """Return the tiers as they are declared now; raise SettingsError if the file is broken."""
        self.refresh()
        if self._problem is not None:
            raise errors.SettingsError(self._problem)
        return self

    def problems(self) -> list[str]:
        """Return what is wrong with the file now."""
        return [f"{names.OF_TIERS}{self._problem}"] if self._problem else []

    def __getitem__(self, name: str) -> tiers.Tier:
        return self._declared.tiers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared.tiers)

    def __len__(self) -> int:
        return len(self._declared.tiers)

    def _look(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
