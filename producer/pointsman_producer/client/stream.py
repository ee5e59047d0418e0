"""A stream: a transcript file in, one outcome per turn out, in order, as the caller asks for them.

Only a limited number of messages is in flight and in memory, whatever the size of the file. The messages depend on
the turns alone, so a file gives the same messages each time it is read. A stream stores nothing: a run that has to
survive its process is a batch.
"""

import contextlib
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pointsman_producer.client.window import DEFAULT_SIZE, DEFAULT_TIMEOUT_S, Chunk, Sent, Submitter, Window
from pointsman_producer.transcripts import reader as transcript_reader
from pointsman_producer.transcripts.reader import Conversation, Reader, Rejection, Turn
from pointsman_shared import errors
from pointsman_shared.wire import jobs

TEXTS_PER_MESSAGE = 500
# Long texts make shorter messages, because those in flight are held in memory.
MAX_CHUNK_CHARS = 1_000_000
MESSAGE_NAMESPACE = uuid.UUID("6f0f3c0e-5f1c-5d0a-9a35-3f6f1f2f7d11")


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnOutcome:
    """The outcome of one turn of a conversation."""

    conversation_id: str
    user: jobs.User | None
    turn: Turn
    outcome: jobs.Outcome


@dataclass(frozen=True, slots=True)
class Stream:
    """What to classify, and how; see `client.Client.classify_transcripts`."""

    path: str | Path
    speakers: str | Sequence[str] = (transcript_reader.CUSTOMER,)
    window: int = DEFAULT_SIZE
    timeout_s: float = DEFAULT_TIMEOUT_S
    reject: Callable[[Rejection], None] | None = None
    include_text: bool = True
    ranking: int = 1
    texts_per_message: int = TEXTS_PER_MESSAGE

    def __post_init__(self) -> None:
        if self.window < 1:
            msg = f"window is {self.window}: at least one message has to be in flight"
            raise errors.SettingsError(msg)
        if not self.speakers:
            msg = f"no speaker was named: name some, or {transcript_reader.EVERYBODY!r} for everybody"
            raise errors.SettingsError(msg)

    def outcomes(self, submitter: Submitter) -> Generator[TurnOutcome, None, None]:
        """Yield the outcomes of the turns one by one, in order."""
        with contextlib.closing(self.by_message(submitter)) as messages:
            for outcomes in messages:
                yield from outcomes

    def by_message(
        self, submitter: Submitter, *, heed: Callable[[], None] = lambda: None
    ) -> Generator[list[TurnOutcome], None, None]:
        """Yield the outcomes of each message together; `heed` is called during waits and ends them by raising."""
        window = Window(
            submitter, source=str(self.path), size=self.window, timeout_s=self.timeout_s, heed=heed
        )

        def send(chunk: Chunk) -> None:
            window.send(chunk, chunk.request(ranking=self.ranking), message_id=str(uuid.uuid4()))

        speakers = (self.speakers,) if isinstance(self.speakers, str) else self.speakers
        with Reader(self.path, speakers=speakers, reject=self.reject or self._refuse) as reader:
            for sent, reply in replies(chunks(reader, self.texts_per_message), window, send):
                outcomes = _outcomes(sent.chunk, reply, include_text=self.include_text)
                window.release(sent.handle.id)
                yield outcomes
        window.flush()

    def _refuse(self, rejection: Rejection) -> None:
        msg = f"line {rejection.line} of {self.path} cannot be used: {rejection.reason}"
        raise errors.InvalidDataError(msg)


def replies(
    to_send: Iterable[Chunk], window: Window, send: Callable[[Chunk], None]
) -> Generator[tuple[Sent, jobs.ClassifyReply], None, None]:
    """Send chunks through a window, and yield the replies in order."""
    for chunk in to_send:
        while len(window) >= window.size:
            yield window.take()
        send(chunk)
    while window:
        yield window.take()


def chunks(reader: Reader, size: int) -> Iterator[Chunk]:
    """Cut the turns into messages of at most `size` texts and `MAX_CHUNK_CHARS` characters."""
    number = chars = 0
    owners: list[Conversation] = []
    turns: list[Turn] = []
    for conversation in reader:
        for turn in conversation.turns:
            if len(turns) == size or (turns and chars + len(turn.text) > MAX_CHUNK_CHARS):
                yield Chunk(number=number, owners=owners, turns=turns, position=reader.position)
                number, chars, owners, turns = number + 1, 0, [], []
            owners.append(conversation)
            turns.append(turn)
            chars += len(turn.text)
    if turns:
        yield Chunk(number=number, owners=owners, turns=turns, position=reader.position)


def message_id(batch: str, number: int) -> str:
    """Name a batch's message, the same in every run."""
    return str(uuid.uuid5(MESSAGE_NAMESPACE, f"{batch}:{number}"))


def _outcomes(chunk: Chunk, reply: jobs.ClassifyReply, *, include_text: bool) -> list[TurnOutcome]:
    with fitting(reply, chunk.turns):
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


@contextlib.contextmanager
def fitting(reply: jobs.ClassifyReply, turns: Sequence[Turn]) -> Iterator[None]:
    """Raise JobFailedError if a column of a reply turns out to have another length than its message."""
    try:
        yield
    except (ValueError, IndexError) as error:
        msg = f"the reply to message {reply.message_id} does not fit its {len(turns)} texts"
        raise errors.JobFailedError(msg) from error
