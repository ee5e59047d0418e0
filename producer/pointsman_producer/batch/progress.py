"""How far a batch has come, the sums of its outcomes, and the watcher that is told."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pointsman_producer.batch import summaries
from pointsman_producer.client.window import Chunk
from pointsman_producer.files.writers import Row
from pointsman_producer.transcripts.reader import Conversation, Rejection
from pointsman_shared.wire import jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run has come.

    Attributes:
        outcomes: The outcomes in the journal.
        resumed: How many of them an earlier run had written.
        rejected: The lines that cannot be used.
        position: How many bytes of the input these outcomes come from.
        size: The size of the input; None if it is not known.
        rate: The new outcomes a second.
        left_s: The time that the rest of the input takes at this pace; None if it is not known.
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


class Account:
    """Adds up the outcomes of the journal, in order, and tells a watcher."""

    def __init__(
        self,
        summariser: summaries.Summariser,
        watcher: Watcher,
        *,
        size: int | None,
        rejected: Callable[[], int],
    ) -> None:
        self._summariser = summariser
        self._watcher = watcher
        self._size = size
        self._rejected = rejected
        self._position = self._resumed = self._resumed_position = 0
        self._started = time.monotonic()
        self.tally = summaries.Tally()
        # The length of the longest ranking.
        self.ranks = 0

    def add_reply(self, chunk: Chunk, reply: jobs.ClassifyReply, start: int) -> None:
        """Add the outcomes of a message, from one of its texts on."""
        tier_of = [route.tier for route in reply.routes]
        self._add(
            chunk.owners[start:],
            reply.intent[start:],
            [tier_of[route] for route in reply.route_of[start:]],
            reply.ranking[start:],
            chunk.position,
        )

    def add_resumed(self, chunk: Chunk, rows: Sequence[Row]) -> None:
        """Add the first outcomes of a message, which an earlier run had written."""
        self._resumed += len(rows)
        # The pace of this run starts behind them.
        self._started, self._resumed_position = time.monotonic(), chunk.position
        self._add(
            chunk.owners[: len(rows)],
            [row["intent"] for row in rows],
            [row["tier"] for row in rows],
            [row["ranking"] for row in rows],
            chunk.position,
        )

    def _add(
        self,
        owners: Sequence[Conversation],
        intents: Sequence[str],
        tiers: Sequence[str],
        rankings: Sequence[Sequence[object]],
        position: int,
    ) -> None:
        self.tally.add(intents, tiers)
        self._summariser.add(owners, intents, tiers)
        self.ranks = max(self.ranks, *map(len, rankings))
        self._position = position
        self._watcher.progressed(self.progress())

    def progress(self) -> Progress:
        """Return how far the run has come."""
        elapsed_s = time.monotonic() - self._started
        read = self._position - self._resumed_position
        left_s = elapsed_s * (self._size - self._position) / read if self._size and read > 0 else None
        return Progress(
            outcomes=self.tally.total,
            resumed=self._resumed,
            rejected=self._rejected(),
            position=self._position,
            size=self._size,
            rate=(self.tally.total - self._resumed) / elapsed_s if elapsed_s else 0.0,
            left_s=left_s,
        )
