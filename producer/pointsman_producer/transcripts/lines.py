"""The numbered lines of a file or of standard input, plain or gzipped.

It holds one line, of at most `MAX_LINE_BYTES`, however large the file is.
"""

import gzip
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from pointsman_shared import errors

STDIN = "-"
GZIP_ENDING = ".gz"
MAX_LINE_BYTES = 16 * 1024 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Lines:
    """Iterates over a file's lines and their numbers; the first is 1.

    Of a longer line it yields `MAX_LINE_BYTES` and one more byte, and skips the rest. `name` is a path, or `-` for
    standard input. A file that cannot be read raises `InvalidDataError`, also while iterating.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.size: int | None = None
        if name == STDIN:
            if sys.stdin is None:
                msg = "standard input is closed"
                raise errors.InvalidDataError(msg)
            self._raw: BinaryIO = sys.stdin.buffer
        else:
            try:
                self._raw = Path(name).open("rb")  # noqa: SIM115  close closes it
            except OSError as error:
                msg = f"{name} cannot be read: {error.strerror}"
                raise errors.InvalidDataError(msg) from error
            status = os.fstat(self._raw.fileno())
            self.size = status.st_size if stat.S_ISREG(status.st_mode) else None
        is_gzip = name.lower().endswith(GZIP_ENDING)
        self._file = cast("BinaryIO", gzip.open(self._raw)) if is_gzip else self._raw  # noqa: SIM115  close closes it

    def close(self) -> None:
        """Close the file; standard input stays open."""
        if self.name != STDIN:
            self._file.close()
            self._raw.close()

    @property
    def position(self) -> int:
        """The number of the `size` bytes that were read; 0 if it is unknown."""
        return self._raw.tell() if self.size is not None else 0

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        number = 0
        try:
            while line := self._file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                    self._skip_line()
                yield number, line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
        except (EOFError, OSError, zlib.error) as error:
            msg = f"{self.name} cannot be read beyond line {number}: {error}"
            raise errors.InvalidDataError(msg) from error
        if self.position < (self.size or 0):
            msg = (
                f"{self.name} became shorter while it was read: "
                f"it ends behind line {number}, after {self.position:,} of {self.size:,} bytes"
            )
            raise errors.InvalidDataError(msg)

    def _skip_line(self) -> None:
        while (rest := self._file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
            pass


def content_ending(name: str) -> str:
    """Return the ending that names a file's format: without `.gz`, in lower case."""
    if name == STDIN:
        return ".jsonl"
    path = Path(name)
    if path.suffix.lower() == GZIP_ENDING:
        path = path.with_suffix("")
    return path.suffix.lower()
