"""How far a batch has come: the counts of its outcomes, the lines that cannot be used, the watcher that is told."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pointsman_producer.batch.summaries import Tally
from pointsman_producer.files import writers
from pointsman_producer.transcripts.reader import Rejection


@dataclass(eq=False, kw_only=True)
class Progress:
    """How far a run has come: the outcomes in its journal, and the bytes of the input that they come from.

    `resumed` outcomes were there before. `ranks` is the length of the longest ranking. An unknown `size` is None.
    """

    size: int | None = None
    position: int = 0
    resumed: int = 0
    rejected: int = 0
    ranks: int = 0
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self._started = time.monotonic()
        self._resumed_position = 0

    @property
    def outcomes(self) -> int:
        """The number of outcomes."""
        return self.tally.total()

    @property
    def rate(self) -> float:
        """The new outcomes a second."""
        elapsed_s = time.monotonic() - self._started
        return (self.outcomes - self.resumed) / elapsed_s if elapsed_s else 0.0

    @property
    def left_s(self) -> float | None:
        """How long the rest of the input will take; None if it is unknown."""
        read = self.position - self._resumed_position
        if not self.size or read <= 0:
            return None
        return (time.monotonic() - self._started) * (self.size - self.position) / read

    def resume(self, outcomes: int, position: int) -> None:
        """Note outcomes that an earlier run had written; the pace of this run starts behind them."""
        self.resumed += outcomes
        self._started, self._resumed_position = time.monotonic(), position

    def add(
        self,
        intents: Sequence[str],
        tiers: Sequence[str],
        rankings: Sequence[Sequence[object]],
        position: int,
    ) -> None:
        """Add the next outcomes, in order, column by column, and how far the input was read for them."""
        self.tally.update(zip(intents, tiers, strict=True))
        self.ranks = max(self.ranks, *map(len, rankings))
        self.position = position


class Watcher:
    """Is told how a run proceeds, and may stop it. This one does neither."""

    def progressed(self, progress: Progress) -> None:
        """Learn that outcomes were written."""

    def rejected(self, rejection: Rejection) -> None:
        """Learn of a line that cannot be used."""

    def wants_stop(self) -> bool:
        """Tell whether the run must stop now."""
        return False


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
