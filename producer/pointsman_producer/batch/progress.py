"""How far a batch has come, what its outcomes amount to, and who hears of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pointsman_producer.batch import summaries
from pointsman_producer.client.chunks import Chunk
from pointsman_producer.files.writers import Row
from pointsman_producer.transcripts.reader import Conversation, Rejection
from pointsman_shared.wire import jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run has come."""

    outcomes: int
    resumed: int
    """How many of the outcomes an earlier run had written."""
    rejected: int
    position: int
    """How many bytes of the input those outcomes come from."""
    size: int | None
    """The size of the input, None where it is not known."""


class Watcher:
    """Hears how a run goes, and may end it. This one is silent and patient."""

    def progressed(self, progress: Progress) -> None:
        """Some outcomes were written."""

    def rejected(self, rejection: Rejection) -> None:
        """A line cannot be used."""

    def wants_stop(self) -> bool:
        """Say whether the run is to stop with what it has."""
        return False


class Account:
    """Adds up the outcomes that are in the journal, in order, and tells a watcher.

    Args:
        summariser: Sums up the conversations.
        watcher: Is told.
        size: The size of the input, None where it is not known.
        rejected: Says how many lines were rejected so far.
    """

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
        self._position = self._resumed = 0
        self.tally = summaries.Tally()
        self.ranks = 0
        """How many entries the longest ranking has."""

    def add_reply(self, chunk: Chunk, reply: jobs.ClassifyReply, start: int) -> None:
        """Take the outcomes of a message from a place on."""
        tier_of = [route.tier for route in reply.routes]
        self._add(
            chunk.owners[start:],
            reply.intent[start:],
            [tier_of[route] for route in reply.route_of[start:]],
            reply.ranking[start:],
            chunk.position,
        )

    def add_resumed(self, chunk: Chunk, rows: Sequence[Row]) -> None:
        """Take the first outcomes of a message, which an earlier run had written."""
        self._resumed += len(rows)
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
        """Say how far the run has come."""
        return Progress(
            outcomes=self.tally.total,
            resumed=self._resumed,
            rejected=self._rejected(),
            position=self._position,
            size=self._size,
        )
