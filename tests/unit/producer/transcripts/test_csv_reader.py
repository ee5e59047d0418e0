"""What becomes of the rows of a CSV file."""

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman_producer.transcripts.reader import Turn
from pointsman_shared import errors
from pointsman_shared.data_files.cells import guard
from pointsman_shared.wire import jobs
from tests.support.transcript_files import read, read_lines, reasons


def test_csv_rows_of_one_conversation_are_joined(tmp_path: Path) -> None:
    read_back, rejected = read_lines(
        tmp_path,
        "\ufeffConversation_ID,speaker,text,ts,user_id,email,plan,user.seats,note",
        'a,customer,"hi, ""you""",10,,,,,x',
        "a,agent,hello,11,,,,,",
        'a,customer,"two\nlines",12,u-1,a@example.org,pro,3,',
        "",
        "b,customer,bye,,,,,,",
        name="in.csv",
    )
    first, second = read_back
    assert first.turns == (Turn(0, "customer", 'hi, "you"', "10"), Turn(2, "customer", "two\nlines", "12"))
    assert first.user == jobs.User(id="u-1", email="a@example.org", custom={"plan": "pro", "seats": "3"})
    assert (second.line, second.user, second.turns) == (7, None, (Turn(0, "customer", "bye", None),))
    assert rejected == []


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidDataError, match="two columns are named text"):
        read_lines(tmp_path, "text,Text", "a,b", name="in.csv")


def test_csv_needs_no_more_than_texts(tmp_path: Path) -> None:
    read_back, _ = read_lines(tmp_path, "text", "hi", "bye", name="in.csv")
    assert [(c.id, c.turns) for c in read_back] == [
        ("line-2", (Turn(0, "customer", "hi", None),)),
        ("line-3", (Turn(0, "customer", "bye", None),)),
    ]


def test_bad_csv_rows_are_rejected_with_their_lines(tmp_path: Path) -> None:
    read_back, rejected = read_lines(
        tmp_path,
        "conversation_id,speaker,text",
        "a,customer",
        "a,customer,hi,there",
        "a,,hi",
        ",customer,hi",
        "a,customer,",
        "a,customer,fine",
        name="in.csv",
    )
    assert reasons(rejected) == [
        (2, "has 2 fields; the header has 3"),
        (3, "has 4 fields; the header has 3"),
        (4, "speaker is missing"),
        (5, "conversation_id is missing"),
        (6, "text is empty"),
    ]
    assert [turn.text for turn in read_back[0].turns] == ["fine"]


@pytest.mark.parametrize("rows_behind", [3, 4000])
def test_a_file_with_a_quote_that_is_never_closed_is_refused_with_its_line(
    tmp_path: Path, rows_behind: int
) -> None:
    behind = [
        f"b,customer,a text that takes up some room in the file {number}" for number in range(rows_behind)
    ]
    with pytest.raises(errors.InvalidDataError, match=r"in\.csv:3: is not CSV"):
        read_lines(
            tmp_path,
            "conversation_id,speaker,text",
            "a,customer,yo",
            'a,customer,"hi',
            *behind,
            name="in.csv",
        )


@pytest.mark.parametrize("bad", ['a,customer,"hi', 'a,customer,"hi"x'])
def test_a_row_that_is_not_csv_and_swallows_no_other_costs_one_line(tmp_path: Path, bad: str) -> None:
    lines = ["a,customer,yo", bad] if bad.endswith("hi") else [bad, "a,customer,yo"]
    read_back, rejected = read_lines(tmp_path, "conversation_id,speaker,text", *lines, name="in.csv")
    assert [(rejection.content, rejection.reason[:10]) for rejection in rejected] == [(bad, "is not CSV")]
    assert [turn.text for turn in read_back[0].turns] == ["yo"]


def test_csv_without_a_text_column_cannot_be_used_at_all(tmp_path: Path) -> None:
    for header in ("conversation_id,message", ""):
        with pytest.raises(errors.InvalidDataError, match="no column is named text"):
            read_lines(tmp_path, header, name="in.csv")


words = st.builds(
    str.__add__,
    st.text("'=+-@", max_size=2),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(str.strip),
)
turns = st.lists(st.tuples(st.sampled_from(["customer", "agent"]), words), min_size=1, max_size=4)


@given(conversations=st.lists(turns, max_size=4))
def test_csv_and_json_lines_of_the_same_conversations_read_the_same(
    tmp_path_factory: pytest.TempPathFactory, conversations: list[list[tuple[str, str]]]
) -> None:
    folder = tmp_path_factory.mktemp("round")
    with (folder / "in.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["conversation_id", "speaker", "text"])
        writer.writerows(
            (n, speaker, guard(text)) for n, said in enumerate(conversations) for speaker, text in said
        )
    lines = [
        json.dumps(
            {"conversation_id": n, "turns": [{"speaker": speaker, "text": text} for speaker, text in said]}
        )
        for n, said in enumerate(conversations)
    ]
    (folder / "in.jsonl").write_text("".join(line + "\n" for line in lines))
    from_csv, csv_rejected = read(folder / "in.csv")
    from_json, json_rejected = read(folder / "in.jsonl")
    assert csv_rejected == json_rejected == []
    expected = [
        [(place, text) for place, (who, text) in enumerate(said) if who == "customer"]
        for said in conversations
    ]
    for read_back in (from_csv, from_json):
        assert [[(turn.place, turn.text) for turn in c.turns] for c in read_back] == expected
