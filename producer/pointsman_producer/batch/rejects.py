"""The lines of a transcript that cannot be used, written to a file with their numbers and the reasons."""

import contextlib
from pathlib import Path

from pointsman_producer.batch.progress import Progress, Watcher
from pointsman_producer.files import writers
from pointsman_producer.transcripts.reader import Rejection


class RejectedLines:
    """Writes the lines that cannot be used. Every run reads the input from the start, so it also starts this file."""

    def __init__(self, path: Path, progress: Progress, watcher: Watcher) -> None:
        self._path = path
        self._progress = progress
        self._watcher = watcher
        self._opened = contextlib.ExitStack()

    def begin(self) -> None:
        """Remove the file of an earlier run."""
        self._path.unlink(missing_ok=True)

    def add(self, rejection: Rejection) -> None:
        """Add a line."""
        if not self._progress.rejected:
            self._write = self._opened.enter_context(writers.json_lines(self._path))
        self._write(rejection._asdict())
        self._progress.rejected += 1
        self._watcher.rejected(rejection)

    def close(self) -> None:
        """Close the file."""
        self._opened.close()
