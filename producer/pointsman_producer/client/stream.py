"""A stream: a transcript file in, one outcome per turn out, in order, as they are asked for.

However large the file, a bounded number of messages is under way, and no more than they are held. Nothing is
written down: a run that has to survive its process is a batch.
"""

import contextlib
import uuid
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pointsman_producer.client import in_flight
from pointsman_producer.client.chunks import TEXTS_PER_MESSAGE, Chunk, chunks
from pointsman_producer.client.in_flight import InFlight, Submitter
from pointsman_producer.client.releases import Releases
from pointsman_producer.transcripts import reader as transcript_reader
from pointsman_producer.transcripts.reader import Rejection, Turn
from pointsman_shared import errors
from pointsman_shared.wire import jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnOutcome:
    """What became of one turn of a conversation."""

    conversation_id: str
    user: jobs.User | None
    turn: Turn
    outcome: jobs.Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What is to be classified, and how.

    Raises:
        SettingsError: The window or the speakers are none.
    """

    path: str | Path
    """A transcript file; see `transcripts.Reader`."""
    speakers: str | Sequence[str] = (transcript_reader.CUSTOMER,)
    texts_per_message: int = TEXTS_PER_MESSAGE
    window: int = in_flight.DEFAULT_WINDOW
    """How many messages are in flight at most."""
    timeout_s: float = in_flight.DEFAULT_TIMEOUT_S
    """How long to wait for the next message's outcomes before giving up."""
    reject: Callable[[Rejection], None] | None = None
    """Called with each line that cannot be used; None ends the stream there."""
    include_text: bool = True

    def __post_init__(self) -> None:
        if self.window < 1:
            msg = f"window is {self.window}: at least one message has to be in flight"
            raise errors.SettingsError(msg)
        if not self.speakers:
            msg = f"no speaker was named: name some, or {transcript_reader.EVERYBODY!r} for everybody"
            raise errors.SettingsError(msg)

    def outcomes(self, submitter: Submitter) -> Generator[TurnOutcome, None, None]:
        """Give the outcomes of the turns one by one, in order; see `by_message`."""
        with contextlib.closing(self.by_message(submitter)) as messages:
            for outcomes in messages:
                yield from outcomes

    def by_message(
        self, submitter: Submitter, *, heed: Callable[[], None] = lambda: None
    ) -> Generator[list[TurnOutcome], None, None]:
        """Give the outcomes of the turns in order, those of each message together.

        Args:
            submitter: Takes the messages.
            heed: Called while waiting; ends the stream by raising.

        Raises:
            PointsmanError: See `client.Client.classify_transcripts`.
        """
        releases = Releases(submitter)
        under_way = InFlight(submitter, source=str(self.path), timeout_s=self.timeout_s, heed=heed)
        with transcript_reader.Reader(
            self.path, speakers=self._speakers(), reject=self.reject or self._refuse
        ) as reader:
            for chunk in chunks(reader, self.texts_per_message):
                if len(under_way) >= self.window:
                    yield self._take(under_way, releases)
                under_way.send(chunk, chunk.request(), message_id=str(uuid.uuid4()))
            while under_way:
                yield self._take(under_way, releases)
        releases.flush()

    def _speakers(self) -> Sequence[str]:
        return (self.speakers,) if isinstance(self.speakers, str) else self.speakers

    def _refuse(self, rejection: Rejection) -> None:
        msg = f"line {rejection.line} of {self.path} cannot be used: {rejection.reason}"
        raise errors.InvalidDataError(msg)

    def _take(self, under_way: InFlight, releases: Releases) -> list[TurnOutcome]:
        sent, reply = under_way.take()
        outcomes = _outcomes(sent.chunk, reply, include_text=self.include_text)
        releases.add(sent.handle.id)
        return outcomes


def _outcomes(chunk: Chunk, reply: jobs.ClassifyReply, *, include_text: bool) -> list[TurnOutcome]:
    try:
        return [
            TurnOutcome(
                conversation_id=owner.id,
                user=owner.user,
                turn=turn,
                outcome=jobs.outcome(reply, place, turn.text if include_text else None),
            )
            for place, (owner, turn, _) in enumerate(
                zip(chunk.owners, chunk.turns, reply.intent, strict=True)
            )
        ]
    except (ValueError, IndexError) as error:
        msg = f"the reply to message {reply.message_id} does not fit its {len(chunk.turns)} texts"
        raise errors.JobFailedError(msg) from error
