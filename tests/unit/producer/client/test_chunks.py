"""How turns become messages."""

import json
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman_producer.client import chunks
from pointsman_producer.client.chunks import Chunk
from pointsman_producer.transcripts.reader import Conversation, Reader, Turn
from pointsman_shared.wire import jobs

ANA, BEN = (jobs.User(id=name, custom={"plan": "pro"}) for name in ("ana", "ben"))


def cut(path: Path, size: int) -> list[Chunk]:
    with Reader(path, reject=lambda rejection: None) as reader:
        return list(chunks.chunks(reader, size))


def chunk_of(*users: jobs.User | None) -> Chunk:
    owners = [Conversation(id="c", user=user, turns=(), line=1) for user in users]
    turns = [Turn(place, "customer", f"text {place}", None) for place in range(len(users))]
    return Chunk(number=0, owners=owners, turns=turns, position=0)


@given(lengths=st.lists(st.integers(0, 7), max_size=8), size=st.integers(1, 5))
def test_every_turn_is_in_one_message_in_order_and_all_but_the_last_are_full(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], size: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "in.jsonl"
    said = [[f"{number} {place}" for place in range(length)] for number, length in enumerate(lengths)]
    path.write_text(
        "".join(
            json.dumps(
                {
                    "conversation_id": number,
                    "turns": [{"speaker": "customer", "text": text} for text in texts],
                }
            )
            + "\n"
            for number, texts in enumerate(said)
        )
    )
    found = cut(path, size)
    turns = [
        (owner.id, turn.text)
        for chunk in found
        for owner, turn in zip(chunk.owners, chunk.turns, strict=True)
    ]
    assert turns == [(str(number), text) for number, texts in enumerate(said) for text in texts]
    assert [len(chunk.turns) for chunk in found[:-1]] == [size] * (len(found) - 1)
    assert [chunk.number for chunk in found] == list(range(len(found)))


def test_long_texts_make_short_messages(tmp_path: Path) -> None:
    source = tmp_path / "in.txt"
    source.write_text(("x" * jobs.MAX_TEXT_CHARS + "\n") * 120)
    assert [len(chunk.turns) for chunk in cut(source, 500)] == [50, 50, 20]


def test_each_user_is_sent_once_a_message_and_nobody_not_at_all() -> None:
    request = chunk_of(ANA, None, BEN, ANA.model_copy()).request("b")
    assert (request.texts, request.users) == ([f"text {place}" for place in range(4)], [ANA, BEN])
    assert (request.user_of, request.batch) == ([0, jobs.ANONYMOUS, 1, 0], "b")
    anonymous = chunk_of(None, None).request()
    assert (anonymous.users, anonymous.user_of, anonymous.batch) == ([], None, None)


def test_a_message_of_a_batch_has_the_same_id_in_every_run() -> None:
    assert chunks.message_id("b", 1) == chunks.message_id("b", 1) == "66f55867-f3ab-5142-8fbf-f90a53b8281a"
    ids = {chunks.message_id(batch, number) for batch in ("b", "c") for number in range(3)}
    assert len({uuid.UUID(message_id) for message_id in ids}) == 6
