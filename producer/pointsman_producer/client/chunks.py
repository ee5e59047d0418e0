"""Cutting transcripts into messages, by nothing but the turns themselves.

So a file gives the same messages however often it is read, and a batch that was cut off finds its own again.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from pointsman_producer.client import users
from pointsman_producer.transcripts.reader import Conversation, Reader, Turn
from pointsman_shared.wire import jobs

# Long texts make a message shorter: those in flight are what is held in memory.
MAX_CHUNK_CHARS = 1_000_000
MESSAGE_NAMESPACE = uuid.UUID("6f0f3c0e-5f1c-5d0a-9a35-3f6f1f2f7d11")

# How many texts bulk work puts into one message.
TEXTS_PER_MESSAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The turns of one message, and whose they are."""

    number: int
    owners: list[Conversation]
    turns: list[Turn]
    position: int
    """How far the input was read when the last of them was taken."""

    def request(self, batch: str | None = None) -> jobs.ClassifyRequest:
        """Put the turns into a message, which may count towards a batch."""
        people, user_of = users.distinct_users([owner.user for owner in self.owners])
        return jobs.ClassifyRequest.parse(
            {
                "texts": [turn.text for turn in self.turns],
                "users": people,
                "user_of": user_of if people else None,
                "batch": batch,
            }
        )


def chunks(reader: Reader, size: int) -> Iterator[Chunk]:
    """Cut the stream of turns into messages of at most `size` texts and `MAX_CHUNK_CHARS` characters."""
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
