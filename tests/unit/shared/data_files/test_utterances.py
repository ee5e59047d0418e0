import json
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman_shared import errors
from pointsman_shared.data_files import rows as formats
from pointsman_shared.data_files import utterances
from pointsman_shared.wire import jobs

RASA = """\
version: "3.1"
nlu:
- intent: greeting
  examples: |
    - hi
    - hello [Berlin](city), it is [me]{"entity": "person", "role": "x"}

    - morning [all][{"entity": "group"}]
- synonym: hello
  examples: |
    - hey
- intent: goodbye
  examples:
  - text: |
      bye
    metadata:
      sentiment: neutral
  - see you
"""


def write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def rows(path: Path) -> list[tuple[str, str, int]]:
    return [(row.text, row.intent, row.line) for row in utterances.read(path)]


def problems_of(path: Path) -> list[str]:
    with pytest.raises(errors.InvalidDataError) as caught:
        utterances.read(path, shown_as=path.name)
    return str(caught.value).splitlines()


def test_json_lines_are_read_with_their_line_numbers(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "a.jsonl",
        '{"text": "hi", "intent": "greeting"}\n\n{"text": " bye ", "intent": "goodbye"}\n',
    )
    assert rows(path) == [("hi", "greeting", 1), ("bye", "goodbye", 3)]


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"text": "hi", "intent": "greeting"}\r\n{"text": "bye", "intent": "goodbye"}\r\n'
    )
    assert rows(path) == [("hi", "greeting", 1), ("bye", "goodbye", 2)]


def test_a_unicode_line_separator_inside_a_text_does_not_end_the_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"text": "hi\u2028there", "intent": "greeting"}\n')
    assert rows(path) == [("hi\u2028there", "greeting", 1)]


def test_one_json_list_is_read_with_the_numbers_of_its_elements(tmp_path: Path) -> None:
    content = (
        '[\n  {\n    "intent": "goodbye",\n    "text": "bye"\n  },\n  {"intent": "greeting", "text": "hi"}]'
    )
    assert rows(write(tmp_path, "a.json", content)) == [("bye", "goodbye", 1), ("hi", "greeting", 2)]


def test_json_lines_under_the_ending_json_are_recognised_by_their_content(tmp_path: Path) -> None:
    content = '{"text": "hi", "intent": "greeting"}\n{"text": "bye", "intent": "goodbye"}\n'
    assert rows(write(tmp_path, "a.json", content)) == [("hi", "greeting", 1), ("bye", "goodbye", 2)]


def test_csv_is_read_by_its_header_whatever_the_order_of_the_columns(tmp_path: Path) -> None:
    content = 'id, Intent ,text\n1,greeting,"hi, you"\n2,goodbye,"see\nyou"\n3,goodbye,bye\n'
    assert rows(write(tmp_path, "a.csv", content)) == [
        ("hi, you", "greeting", 2),
        ("see\nyou", "goodbye", 3),
        ("bye", "goodbye", 5),
    ]


def test_yaml_with_aliases_is_refused_before_it_grows(tmp_path: Path) -> None:
    shared = "\n".join(f"    - text {place}" for place in range(1_000))
    entries = "\n".join(f"- intent: i{place}\n  examples: *all" for place in range(3_000))
    path = tmp_path / "bomb.yml"
    path.write_text(f"nlu:\n- intent: first\n  examples: &all\n{shared}\n{entries}\n")
    with pytest.raises(
        errors.InvalidDataError, match=r"bomb.yml:1005: .*aliases are not taken: write the examples out"
    ):
        utterances.read(path)


def test_rasa_yaml_is_read_without_its_entities_and_synonyms(tmp_path: Path) -> None:
    assert rows(write(tmp_path, "nlu.yml", RASA)) == [
        ("hi", "greeting", 5),
        ("hello Berlin, it is me", "greeting", 6),
        ("morning all", "greeting", 8),
        ("bye", "goodbye", 14),
        ("see you", "goodbye", 18),
    ]


def test_all_bad_rows_are_named_at_once_and_none_is_quoted(tmp_path: Path) -> None:
    lines = [
        '{"text": "hi", "intent": "greeting"}',
        "{secret",
        '["secret"]',
        '{"text": "", "intent": "greeting"}',
        '{"text": 7, "intent": "greeting"}',
        '{"text": "secret"}',
        '{"text": "\\ud800", "intent": "greeting"}',
        json.dumps({"text": "x" * 20_001, "intent": "greeting"}),
    ]
    found = problems_of(write(tmp_path, "a.jsonl", "\n".join(lines)))
    assert sorted(found) == [
        "a.jsonl:2: is not JSON",
        'a.jsonl:3: is not an object such as {"text": ..., "intent": ...}',
        "a.jsonl:4: text is empty",
        "a.jsonl:5: text is not a string",
        "a.jsonl:6: intent is missing",
        "a.jsonl:7: text is not valid Unicode (half of a surrogate pair)",
        "a.jsonl:8: text has 20001 characters; at most 20000 are allowed",
    ]
    assert "secret" not in "".join(found)


def test_of_very_many_bad_rows_the_first_are_named_and_the_others_counted(tmp_path: Path) -> None:
    found = problems_of(write(tmp_path, "a.jsonl", "{}\n" * 30))
    assert len(found) == formats.MAX_PROBLEMS_SHOWN + 1
    assert found[-1] == "and 40 more problems"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.txt", "hi", "a.txt: cannot tell its format"),
        ("a.jsonl", "\n", "a.jsonl: holds no utterances"),
        ("a.json", '[\n{"text": }]', "a.json:2: is not JSON"),
        ("a.json", '{"utterances": 1}', "a.json:1: text is missing"),
        ("a.json", "[" * 100_000, "a.json:1: is not JSON: nested too deeply"),
        (
            "a.json",
            f"[{'9' * 5_000}]",
            "a.json:1: is not JSON: a number is NaN or infinite, or has too many digits",
        ),
        (
            "a.jsonl",
            '{"text": "a", "intent": "b", "n": NaN}',
            "a.jsonl:1: is not JSON: a number is NaN or infinite",
        ),
        ("a.json", '[{"n": -Infinity}]', "a.json:1: is not JSON: a number is NaN or infinite"),
        ("a.jsonl", "[" * 100_000, "a.jsonl:1: is not JSON: nested too deeply"),
        ("a.csv", "words,label\nhi,greeting\n", "a.csv:1: the header must name"),
        ("a.csv", "text,intent\nhi, you,greeting\n", "a.csv:2: has more columns"),
        ("a.csv", 'text,intent\n"hi,greeting\n', "a.csv:2: is not CSV"),
        ("a.yml", "nlu: [", "a.yml:1: is not YAML"),
        ("a.yml", "stories: []", "a.yml:1: has no list"),
        ("a.yml", "nlu:\n- intent: greeting\n", "a.yml:2: the intent has no examples"),
        ("a.yml", "nlu:\n- intent: greeting\n  examples: |\n    hi\n", "a.yml:4: an example must begin with"),
        ("a.yml", "nlu:\n- intent: greeting\n  examples: {a: b}\n", "a.yml:3: the examples are not a list"),
    ],
)
def test_a_file_that_cannot_be_used_says_where_and_why(
    tmp_path: Path, name: str, content: str, problem: str
) -> None:
    assert problems_of(write(tmp_path, name, content))[0].startswith(problem)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"text": "a", "intent": "b"}\n' * 21),
        ("a.jsonl", "bad\n" * 21),
        ("a.json", json.dumps([{"text": "a", "intent": "b"}] * 21)),
        ("a.csv", "text,intent\n" + "a,b\n" * 21),
        ("a.yml", "other: [[a],[a],[a],[a],[a],[a],[a],[a],[a],[a],[a]]\n"),
    ],
)
def test_a_file_with_more_rows_than_memory_may_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str
) -> None:
    monkeypatch.setattr(formats, "MAX_ROWS", 20)
    path = write(tmp_path, name, content)
    with pytest.raises(errors.InvalidDataError, match=f"^{name}: has more than 20 rows: use a part of it"):
        utterances.read(path, shown_as=name)


@pytest.mark.parametrize("limit", [10, 2])
def test_a_file_with_too_many_characters_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(formats, "MAX_CHARS", limit)
    path = write(tmp_path, "a.csv", "text,intent\n")
    with pytest.raises(errors.InvalidDataError, match=f"has more than {limit} characters: use a part of it"):
        utterances.read(path)


def test_a_missing_file_and_one_that_is_not_utf8_are_refused(tmp_path: Path) -> None:
    assert problems_of(tmp_path / "none.jsonl") == ["none.jsonl: cannot be read: No such file or directory"]
    (tmp_path / "latin.jsonl").write_bytes(b'{"text": "\xe9", "intent": "a"}')
    assert problems_of(tmp_path / "latin.jsonl") == ["latin.jsonl: is not UTF-8 (byte 10); save it as UTF-8"]


def test_a_text_may_be_as_long_as_the_wire_allows() -> None:
    assert utterances.MAX_TEXT_CHARS == jobs.MAX_TEXT_CHARS


TEXTS = st.text(st.characters(exclude_categories=["Cs"])).map(str.strip).filter(bool)
INTENTS = st.text(string.ascii_letters, min_size=1)


@given(st.lists(st.tuples(TEXTS, INTENTS), min_size=1))
def test_what_was_written_as_a_json_list_or_as_json_lines_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
) -> None:
    objects = [{"text": text, "intent": intent} for text, intent in pairs]
    folder = tmp_path_factory.mktemp("round")
    as_list = write(folder, "a.json", json.dumps(objects, indent=1))
    as_lines = write(folder, "a.jsonl", "\n".join(map(json.dumps, objects)))
    for path in (as_list, as_lines):
        assert [(row.text, row.intent) for row in utterances.read(path)] == pairs
