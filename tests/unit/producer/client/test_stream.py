"""A transcript file in, outcomes out, while both go on."""

import dataclasses
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman_producer.client import stream
from pointsman_producer.client import window as windows
from pointsman_producer.client.stream import Stream, TurnOutcome
from pointsman_producer.client.window import Chunk
from pointsman_producer.transcripts.reader import Conversation, Reader, Rejection, Turn
from pointsman_shared import errors, names
from pointsman_shared.wire import jobs
from tests.support.fake_workers import Workers

PRO = jobs.User(id="u-1", custom={"plan": "pro"})


def write(folder: Path, conversations: int, bad_lines: tuple[int, ...] = ()) -> Path:
    """Write conversations of three turns, the middle one by the agent; every other user has the plan pro."""
    path = folder / "in.jsonl"
    with path.open("w") as file:
        for number in range(1, conversations + 1):
            said = (("customer", "hi"), ("agent", "hello"), ("customer", f"so {number}"))
            turns = [{"speaker": speaker, "text": text} for speaker, text in said]
            user = PRO.model_dump() if number % 2 else None
            line = json.dumps({"conversation_id": f"c{number}", "user": user, "turns": turns})
            file.write("nonsense\n" if number in bad_lines else line + "\n")
    return path


def outcomes(path: Path, workers: Workers, **more: Any) -> Iterator[TurnOutcome]:
    options: dict[str, Any] = {"texts_per_message": 3, "window": 2, **more}
    return Stream(path=path, **options).outcomes(workers)


def places(found: list[TurnOutcome]) -> list[tuple[str, int]]:
    return [(one.conversation_id, one.turn.place) for one in found]


def expected(*conversations: int) -> list[tuple[str, int]]:
    return [(f"c{number}", place) for number in conversations for place in (0, 2)]


def test_every_wanted_turn_gets_its_outcome_in_order(tmp_path: Path) -> None:
    workers = Workers(patience=1)
    found = list(outcomes(write(tmp_path, 10), workers))
    assert places(found) == expected(*range(1, 11))
    assert [one.outcome.text for one in found] == [one.turn.text for one in found]
    assert [one.outcome.intent for one in found] == ["greeting", names.OUT_OF_SCOPE] * 10
    assert [one.outcome.tier for one in found] == ["pro", "pro", "base", "base"] * 5
    assert len({one.outcome.job_id for one in found}) == 20
    assert workers.queues == {names.BULK_QUEUE}


def test_an_outcome_says_whose_and_of_which_turn_it_is(tmp_path: Path) -> None:
    first, second = outcomes(write(tmp_path, 1), Workers(), include_text=False)
    assert (first.conversation_id, first.user) == ("c1", PRO)
    assert second.turn == Turn(2, "customer", "so 1", None)
    assert second.outcome.text is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.conversation_id = "c2"  # type: ignore[misc]


@pytest.mark.parametrize("window", [1, 2, 5])
def test_no_more_messages_are_in_flight_than_the_window_allows(tmp_path: Path, window: int) -> None:
    workers = Workers()
    assert len(list(outcomes(write(tmp_path, 30), workers, window=window))) == 60
    assert (workers.most_in_flight, len(workers.requests)) == (window, 20)


def test_the_file_is_read_no_further_ahead_than_the_window(tmp_path: Path) -> None:
    workers = Workers()
    found = outcomes(write(tmp_path, 1000), workers)
    assert workers.requests == {}
    next(found)
    assert len(workers.requests) == 2
    for _ in range(3):
        next(found)
    assert len(workers.requests) == 3


def test_lines_that_cannot_be_used_are_reported_and_left_out(tmp_path: Path) -> None:
    rejected: list[Rejection] = []
    found = list(outcomes(write(tmp_path, 6, (2, 5)), Workers(), reject=rejected.append))
    assert places(found) == expected(1, 3, 4, 6)
    assert [(rejection.line, rejection.content) for rejection in rejected] == [
        (2, "nonsense"),
        (5, "nonsense"),
    ]


def test_without_a_receiver_the_first_line_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidDataError, match=r"^line 2 of .*in\.jsonl cannot be used: is not JSON"):
        list(outcomes(write(tmp_path, 6, (2, 5)), Workers()))


@pytest.mark.parametrize(
    ("speakers", "turns"),
    [(("agent",), [1]), ("agent", [1]), (("AGENT", "customer"), [0, 1, 2]), ("all", [0, 1, 2])],
)
def test_other_speakers_may_be_asked_for(
    tmp_path: Path, speakers: str | tuple[str, ...], turns: list[int]
) -> None:
    found = list(outcomes(write(tmp_path, 1), Workers(), speakers=speakers))
    assert [one.turn.place for one in found] == turns


def test_a_file_without_wanted_turns_gives_nothing_and_sends_nothing(tmp_path: Path) -> None:
    workers = Workers()
    assert list(outcomes(write(tmp_path, 3), workers, speakers=("bot",))) == []
    assert workers.requests == {}


@pytest.mark.parametrize("options", [{"window": 0}, {"speakers": ()}])
def test_a_stream_without_room_or_speakers_is_refused_at_once(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(errors.SettingsError):
        outcomes(write(tmp_path, 1), Workers(), **options)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidDataError, match="No such file"):
        next(outcomes(tmp_path / "absent.jsonl", Workers()))


def test_outcomes_leave_redis_when_they_are_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "RELEASE_MESSAGES", 4)
    workers = Workers()
    found = outcomes(write(tmp_path, 30), workers)
    for _ in range(3 * 4):
        next(found)
    assert workers.released == list(workers.requests)[:4]
    list(found)
    assert workers.released == list(workers.requests)


def test_a_caller_that_has_seen_enough_leaves(tmp_path: Path) -> None:
    workers = Workers()
    messages = Stream(path=write(tmp_path, 30), texts_per_message=1, window=2).outcomes(workers)
    next(messages)
    messages.close()
    assert len(workers.requests) == 2


@pytest.mark.parametrize("column", ["intent", "route_of", "ranking", "confidence"])
def test_a_reply_that_does_not_fit_is_an_error(tmp_path: Path, column: str) -> None:
    class Forgetful(Workers):
        def reply(self, request: jobs.ClassifyRequest, message_id: str) -> jobs.ClassifyReply:
            reply = super().reply(request, message_id)
            return reply.model_copy(update={column: getattr(reply, column)[:-1]})

    with pytest.raises(errors.JobFailedError, match="does not fit its 2 texts"):
        list(outcomes(write(tmp_path, 1), Forgetful()))


def test_no_outcome_in_the_time_given_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(errors.ResultTimeoutError, match="are workers running"):
        list(outcomes(write(tmp_path, 1), Workers(patience=10**9), timeout_s=0))


def test_a_wait_is_ended_by_who_is_heeded(tmp_path: Path) -> None:
    def leave() -> None:
        raise InterruptedError

    messages = Stream(path=write(tmp_path, 3)).by_message(Workers(patience=10**9), heed=leave)
    with pytest.raises(InterruptedError):
        next(messages)


ANA, BEN = (jobs.User(id=name, custom={"plan": "pro"}) for name in ("ana", "ben"))


def cut(path: Path, size: int) -> list[Chunk]:
    with Reader(path, reject=lambda rejection: None) as reader:
        return list(stream.chunks(reader, size))


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


def test_each_user_is_sent_once_a_message_and_a_missing_one_not_at_all() -> None:
    request = chunk_of(ANA, None, BEN, ANA.model_copy()).request("b")
    assert (request.texts, request.users) == ([f"text {place}" for place in range(4)], [ANA, BEN])
    assert (request.user_of, request.batch) == ([0, jobs.ANONYMOUS, 1, 0], "b")
    anonymous = chunk_of(None, None).request()
    assert (anonymous.users, anonymous.user_of, anonymous.batch) == ([], None, None)


def test_a_message_of_a_batch_has_the_same_id_in_every_run() -> None:
    assert stream.message_id("b", 1) == stream.message_id("b", 1) == "66f55867-f3ab-5142-8fbf-f90a53b8281a"
    ids = {stream.message_id(batch, number) for batch in ("b", "c") for number in range(3)}
    assert len({uuid.UUID(message_id) for message_id in ids}) == 6
