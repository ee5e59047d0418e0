"""Where the registry's files lie: a folder, or any URL that fsspec knows. Knows no version and no alias."""

import contextlib
import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel, ValidationError

from pointsman_models.data import tiers
from pointsman_shared import errors
from pointsman_shared.wire import jobs

# fsspec's memory:// checks and writes in two steps, so one thread at a time creates a file there.
_CREATE = threading.Lock()
Model = TypeVar("Model", bound=BaseModel)


class Storage:
    """Reads and writes whole files. Several processes may use the same place at once.

    Args:
        url: A folder or an fsspec URL, such as `s3://bucket/registry`. An empty place needs no preparation.

    Raises:
        SettingsError: The URL's protocol is unknown or its driver is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            self._fs, self._root = fsspec.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            msg = f"the registry URL cannot be used: {error}"
            raise errors.SettingsError(msg) from error

    def path(self, tier: str, *parts: str | int) -> str:
        """Return the path of a tier's file.

        Raises:
            UnknownTierError: The name is not a tier's name. Names arrive in messages, and a path must stay inside
                the registry.
        """
        if not tiers.NAME.fullmatch(tier):
            msg = f"{tier!r} cannot name a tier"
            raise errors.UnknownTierError(msg)
        return "/".join((self._root.rstrip("/"), tier, *map(str, parts)))

    def read(self, path: str) -> bytes:
        """Read a file.

        Raises:
            FileNotFoundError: There is no such file.
            UnavailableError: It cannot be read now.
        """
        with _usable("read"):
            content: bytes = self._fs.cat_file(path)
        return content

    def read_model(self, path: str, model: type[Model]) -> Model | None:
        """Read a JSON file; None if there is no such file.

        Raises:
            RegistryError: It is damaged.
        """
        try:
            return model.model_validate_json(self.read(path))
        except FileNotFoundError:
            return None
        except ValidationError as error:
            msg = f"{path} is damaged: {jobs.describe(error)}"
            raise errors.RegistryError(msg) from None

    def replace_model(self, path: str, content: BaseModel) -> None:
        """Write a JSON file; see `replace`."""
        self.replace(path, content.model_dump_json(indent=2).encode())

    def exists(self, path: str) -> bool:
        """Return whether there is such a file."""
        return bool(self._fs.exists(path))

    def numbers(self, tier: str) -> list[int]:
        """List the tier's folders that have a number for a name, in rising order."""
        try:
            with _usable("read"):
                found = self._fs.ls(self.path(tier), detail=False)
        except FileNotFoundError:
            return []
        last = (str(path).rstrip("/").rpartition("/")[2] for path in found)
        return sorted(int(name) for name in last if name.isascii() and name.isdecimal())

    def remove(self, path: str) -> None:
        """Remove a file, if it exists."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(path)

    def remove_folder(self, path: str) -> None:
        """Remove a folder and all its files."""
        self._fs.rm(path, recursive=True)

    def make_folder(self, path: str) -> None:
        """Make a folder, and the bucket that it is in."""
        with _usable("written"):
            if isinstance(self._fs, LocalFileSystem):
                # Models hold words of the training data. Who shares a registry makes its folder.
                Path(self._root).parent.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileExistsError):
                    Path(self._root).mkdir(mode=0o700)
            self._fs.makedirs(path, exist_ok=True)

    def create(self, path: str, content: bytes) -> None:
        """Write a new file, whole or not at all.

        Raises:
            FileExistsError: Another process created it first.
            RegistryError: The place cannot be written to.
            UnavailableError: It cannot be written now, as when the disk is full.
        """
        with _usable("written"):
            if isinstance(self._fs, LocalFileSystem):
                self._fs.makedirs(self._fs._parent(path), exist_ok=True)
                with self._staged(path, content) as temporary:
                    # The link is made in one step, and only if no such file exists.
                    os.link(temporary, path)
                return
            with _CREATE:
                self._fs.pipe_file(path, content, mode="create")

    def replace(self, path: str, content: bytes) -> None:
        """Write a file so that a reader sees the old or the new content, never a part.

        Raises:
            RegistryError: The place cannot be written to.
            UnavailableError: It cannot be written now, as when the disk is full.
        """
        with _usable("written"):
            if not isinstance(self._fs, LocalFileSystem):
                self._fs.pipe_file(path, content)
                return
            with self._staged(path, content) as temporary:
                os.replace(temporary, path)

    @contextlib.contextmanager
    def _staged(self, path: str, content: bytes) -> Iterator[str]:
        temporary = f"{path}.{uuid.uuid4().hex}"
        try:
            self._fs.pipe_file(temporary, content)
            yield temporary
        finally:
            with contextlib.suppress(OSError):
                os.remove(temporary)


@contextlib.contextmanager
def _usable(how: str) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError as error:
        msg = f"the registry cannot be {how}: {error.strerror or type(error).__name__}"
        raise (errors.UnavailableError if errors.can_pass(error) else errors.RegistryError)(msg) from error
