"""How far a batch has come, the sums of its outcomes, and the watcher that is told."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pointsman_producer.batch import summaries
from pointsman_producer.batch.rejects import RejectedLines
from pointsman_producer.client.window import Chunk
from pointsman_producer.files.writers import Row
from pointsman_producer.transcripts.reader import Rejection
from pointsman_shared.wire import jobs


class Progress(NamedTuple):
    """How far a run has come: the outcomes in its journal, and the bytes of the input that they come from.

    `resumed` outcomes were there before; `rate` is the new ones a second. An unknown `size` or `left_s` is None.
    """

    outcomes: int
    resumed: int
    rejected: int
    position: int
    size: int | None
    rate: float = 0.0
    left_s: float | None = None


class Watcher:
    """Is told how a run proceeds, and may stop it. This one does neither."""

    def progressed(self, progress: Progress) -> None:
        """Learn that outcomes were written."""

    def rejected(self, rejection: Rejection) -> None:
        """Learn of a line that cannot be used."""

    def wants_stop(self) -> bool:
        """Tell whether the run must stop now."""
        return False


@dataclass(eq=False)
class Account:
    """Adds up the outcomes of the journal, in order, and tells a watcher."""

    summariser: summaries.Summariser
    watcher: Watcher
    size: int | None
    rejects: RejectedLines

    def __post_init__(self) -> None:
        self._position = self._resumed = self._resumed_position = 0
        self._started = time.monotonic()
        self.tally = summaries.Tally()
        # The length of the longest ranking.
        self.ranks = 0

    def add_reply(self, chunk: Chunk, reply: jobs.ClassifyReply, start: int) -> None:
        """Add the outcomes of a message, from one of its texts on."""
        tiers = [reply.routes[route].tier for route in reply.route_of[start:]]
        self._add(chunk, start, reply.intent[start:], tiers, reply.ranking[start:])

    def add_resumed(self, chunk: Chunk, rows: Sequence[Row]) -> None:
        """Add the first outcomes of a message, which an earlier run had written."""
        self._resumed += len(rows)
        # The pace of this run starts behind them.
        self._started, self._resumed_position = time.monotonic(), chunk.position
        intents, tiers, rankings = ([row[name] for row in rows] for name in ("intent", "tier", "ranking"))
        self._add(chunk, 0, intents, tiers, rankings)

    def _add(
        self,
        chunk: Chunk,
        start: int,
        intents: Sequence[str],
        tiers: Sequence[str],
        rankings: Sequence[Sequence[object]],
    ) -> None:
        self.tally.add(intents, tiers)
        self.summariser.add(chunk.owners[start : start + len(intents)], intents, tiers)
        self.ranks = max(self.ranks, *map(len, rankings))
        self._position = chunk.position
        self.watcher.progressed(self.progress())

    def progress(self) -> Progress:
        """Return how far the run has come."""
        elapsed_s = time.monotonic() - self._started
        read = self._position - self._resumed_position
        left_s = elapsed_s * (self.size - self._position) / read if self.size and read > 0 else None
        rate = (self.tally.total - self._resumed) / elapsed_s if elapsed_s else 0.0
        return Progress(
            self.tally.total, self._resumed, self.rejects.count, self._position, self.size, rate, left_s
        )
