"""What becomes of the lines of a transcript file."""

import gzip
import io
import json
import sys
from pathlib import Path

import pytest

from pointsman_producer.transcripts import lines
from pointsman_producer.transcripts import reader as transcript_reader
from pointsman_producer.transcripts.reader import Turn
from pointsman_shared import errors
from pointsman_shared.wire import jobs
from tests.support.transcript_files import read, read_lines, reasons

STAR = Path(__file__).parents[5] / "shared/data/transcripts/star_first2000.jsonl"


def says(text: object = "hi", speaker: object = "customer", **more: object) -> dict[str, object]:
    return {"speaker": speaker, "text": text, **more}


def chat(*turns: object, **more: object) -> dict[str, object]:
    return {"conversation_id": "c1", "turns": list(turns), **more}


def test_a_turn_keeps_its_place_among_all_speakers(tmp_path: Path) -> None:
    line = chat(says("hi", ts=12), says("hello", "agent"), says("bye", ts="2026-03-02T09:22:28Z"))
    (conversation,), rejected = read_lines(tmp_path, line)
    assert conversation.turns == (
        Turn(0, "customer", "hi", 12),
        Turn(2, "customer", "bye", "2026-03-02T09:22:28Z"),
    )
    assert (conversation.id, conversation.user, conversation.line, rejected) == ("c1", None, 1, [])


def test_several_speakers_or_all_may_be_asked_for_in_any_case(tmp_path: Path) -> None:
    line = chat(says("a", "Customer"), says("b", "bot"), says("c", "AGENT"))
    for speakers, expected in ((["customer"], "a"), (["agent", "CUSTOMER"], "ac"), (["all"], "abc")):
        (conversation,), _ = read_lines(tmp_path, line, speakers=speakers)
        assert "".join(turn.text for turn in conversation.turns) == expected


def test_speakers_that_were_not_asked_for_are_remembered(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps(chat(says("a", "bot"), says("b", "agent"))))
    with transcript_reader.Reader(path, reject=lambda rejection: None) as reader:
        assert [conversation.turns for conversation in reader] == [()]
        assert reader.speakers_seen == {"bot", "agent"}


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (None, None),
        ("u-1", jobs.User(id="u-1")),
        (17, jobs.User(id="17")),
        (
            {
                "id": "u-1",
                "email": "a@example.org",
                "country": None,
                "shoe": 42,
                "custom": {"plan": "pro", "x": None},
            },
            jobs.User(id="u-1", email="a@example.org", custom={"plan": "pro"}),
        ),
    ],
)
def test_a_user_is_an_object_an_id_or_missing(
    tmp_path: Path, user: object, expected: jobs.User | None
) -> None:
    (conversation,), _ = read_lines(tmp_path, chat(says(), user=user))
    assert conversation.user == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "is not JSON: EOF while parsing an object"),
        ("[1]", "is not a JSON object"),
        ('{"conversation_id": "c", "turns": NaN}', "is not JSON"),
        ('{"text": "\\ud800"}', "is not JSON"),
        ({"turns": []}, "conversation_id is missing"),
        ({"conversation_id": [1], "turns": []}, "conversation_id is not a string"),
        ({"conversation_id": "x" * 1001, "turns": []}, "conversation_id is longer than 1000 characters"),
        ({"conversation_id": "c", "turns": {}}, "turns is not a list"),
        ({"conversation_id": "c"}, "text is missing"),
        (chat(says(), "hi"), "turn 1: is not a JSON object"),
        (chat({"text": "hi"}), "turn 0: speaker is missing"),
        (chat(says(speaker=3)), "turn 0: speaker is not a string"),
        (chat({"speaker": "customer"}), "turn 0: text is missing"),
        (chat(says(3)), "turn 0: text is not a string"),
        (chat(says(3, "agent")), "turn 0: text is not a string"),
        (chat(says(" \t")), "turn 0: text is empty"),
        (
            chat(says("x" * (jobs.MAX_TEXT_CHARS + 1))),
            "turn 0: text has 20001 characters; at most 20000 are allowed",
        ),
        (chat(says(ts=True)), "turn 0: ts is neither a string nor a number"),
        (chat(says(ts=2**63)), "turn 0: ts is neither a string nor a number"),
        (chat(says(), user=""), "user: id: is empty"),
        (chat(says(), user={"email": "a"}), "user: id: is missing"),
        (chat(says(), user=[]), "user: id: is not a text"),
    ],
)
def test_a_line_that_cannot_be_used_is_rejected_with_its_reason_and_the_rest_goes_on(
    tmp_path: Path, line: object, reason: str
) -> None:
    read_back, rejected = read_lines(tmp_path, chat(says()), line, chat(says()))
    assert [conversation.line for conversation in read_back] == [1, 3]
    assert [(rejection.line, rejection.reason[: len(reason)]) for rejection in rejected] == [(2, reason)]
    assert rejected[0].content == (line if isinstance(line, str) else json.dumps(line))


def test_turns_that_are_not_classified_may_be_empty_or_long(tmp_path: Path) -> None:
    line = chat(says("", "agent"), says("x" * 30_000, "agent"), says("thanks"))
    (conversation,), rejected = read_lines(tmp_path, line)
    assert ([turn.place for turn in conversation.turns], rejected) == ([2], [])


def test_bytes_that_are_not_utf8_cost_one_line(tmp_path: Path) -> None:
    for name in ("in.jsonl", "in.txt", "in.csv"):
        path = tmp_path / name
        path.write_bytes(b'text\n{"text": "\xff"}\n{"text": "ok"}\n'[5 * (name == "in.jsonl") :])
        read_back, rejected = read(path)
        assert read_back[-1].turns[0].text in {"ok", '{"text": "ok"}'}
        assert [rejection.content for rejection in rejected] == ['{"text": "\\xff"}']


def test_flat_lines_of_one_conversation_are_joined(tmp_path: Path) -> None:
    read_back, rejected = read_lines(
        tmp_path,
        {"conversation_id": "a", **says("1"), "user": "u-1"},
        {"conversation_id": "a", **says("2", "agent")},
        "nonsense",
        {"conversation_id": "a", **says("3", ts=7)},
        {"conversation_id": 5, "text": "4"},
        {"conversation_id": "a", **says("5")},
        {"text": "6"},
        {"conversation_id": "a", **says("7")},
        chat(says("8")),
    )
    found = [(c.id, c.user_id, c.line, [(turn.place, turn.text) for turn in c.turns]) for c in read_back]
    assert found == [
        ("a", "u-1", 1, [(0, "1"), (2, "3")]),
        ("5", None, 5, [(0, "4")]),
        ("a", None, 6, [(0, "5")]),
        ("line-7", None, 7, [(0, "6")]),
        ("a", None, 8, [(0, "7")]),
        ("c1", None, 9, [(0, "8")]),
    ]
    assert [rejection.line for rejection in rejected] == [3]


def test_a_bare_text_is_by_the_speaker_who_is_asked_for(tmp_path: Path) -> None:
    for speakers, expected in ((["visitor", "bot"], "visitor"), (["all"], "customer")):
        (conversation,), _ = read_lines(tmp_path, {"text": "hi"}, speakers=speakers)
        assert conversation.turns == (Turn(0, expected, "hi", None),)


def test_a_conversation_without_end_is_handed_on_in_pieces(tmp_path: Path) -> None:
    lines = [
        {"conversation_id": "a", **says(str(number)), "user": "u"}
        for number in range(transcript_reader.MAX_TURNS + 2)
    ]
    read_back, _ = read_lines(tmp_path, *lines)
    assert [(c.id, c.user_id, len(c.turns)) for c in read_back] == [
        ("a", "u", transcript_reader.MAX_TURNS),
        ("a", "u", 2),
    ]
    assert read_back[1].turns[0].place == transcript_reader.MAX_TURNS


def test_plain_text_is_one_text_a_line(tmp_path: Path) -> None:
    read_back, rejected = read_lines(tmp_path, "\ufeffhi there ", "", "bye", "y" * 20_001, name="in.txt")
    assert [(c.id, c.turns[0].text) for c in read_back] == [("line-1", "hi there "), ("line-3", "bye")]
    assert [rejection.line for rejection in rejected] == [4]


def test_a_line_without_end_is_rejected_and_skipped(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes(b"first\n" + b"x" * (lines.MAX_LINE_BYTES * 2 + 5) + b"\nlast\n")
    read_back, rejected = read(path)
    assert [conversation.line for conversation in read_back] == [1, 3]
    assert reasons(rejected) == [(2, f"is longer than {lines.MAX_LINE_BYTES} bytes")]
    assert len(rejected[0].content) == transcript_reader.MAX_QUOTED_CHARS


def test_gzip_is_read_as_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(chat(says())).encode()))
    read_back, _ = read(path)
    assert read_back[0].id == "c1"


def test_stdin_is_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(json.dumps(chat(says())).encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    read_back, _ = read(lines.STDIN)
    assert read_back[0].id == "c1"


@pytest.mark.skipif(not STAR.exists(), reason="the public transcripts are not here")
def test_every_customer_turn_of_the_public_transcripts_is_read() -> None:
    records = [json.loads(line) for line in STAR.read_bytes().splitlines()]
    expected = [
        [
            (place, turn["text"], turn["ts"])
            for place, turn in enumerate(record["turns"])
            if turn["speaker"] == "customer"
        ]
        for record in records
    ]
    read_back, rejected = read(STAR)
    assert rejected == []
    assert [[(turn.place, turn.text, turn.ts) for turn in c.turns] for c in read_back] == expected


def test_a_json_list_is_refused_once_and_not_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "in.json"
    path.write_text('[\n{"text": "hi"},\n{"text": "bye"}\n]\n')
    with pytest.raises(errors.InvalidDataError, match="is a JSON list; expected JSON lines"):
        read(path)


def test_a_reason_names_no_line_but_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "hi"}\n{"text": "a" "b"}\n')
    rejected: list[transcript_reader.Rejection] = []
    with transcript_reader.Reader(path, reject=rejected.append) as lines_read:
        assert len(list(lines_read)) == 1
    assert [(each.line, each.reason) for each in rejected] == [(2, "is not JSON: expected `,` or `}`")]
