"""`pointsman data import`: labelled utterances of any format become JSON lines."""

import json
from pathlib import Path

import pytest

from pointsman_producer.commands import command_line, data, root

ROWS = "text,intent\nhi,greeting\nHi ,greeting\nbye,goodbye\nBYE,greeting\nhi,greeting\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text(ROWS)
    return path


def run(*arguments: object) -> int:
    return command_line.run(root.pointsman, ["data", "import", *map(str, arguments)])


def test_a_file_is_converted_and_its_duplicates_are_listed(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(source, "--json") == command_line.OK
    rows = [json.loads(line) for line in source.with_suffix(".jsonl").read_text().splitlines()]
    assert [(row["text"], row["intent"]) for row in rows] == [
        ("hi", "greeting"),
        ("Hi", "greeting"),
        ("bye", "goodbye"),
        ("BYE", "greeting"),
        ("hi", "greeting"),
    ]
    facts = json.loads(capsys.readouterr().out)
    assert (facts["utterances"], facts["intents"]) == (5, {"greeting": 4, "goodbye": 1})
    assert facts["duplicates"] == [{"lines": [2, 3, 6], "intent": "greeting"}]
    assert facts["contradictions"] == [{"lines": [4, 5], "intents": ["goodbye", "greeting"]}]


def test_a_person_reads_what_is_wrong_with_the_lines(
    source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(source) == command_line.OK
    written = capsys.readouterr()
    assert "5 utterances of 2 intents are in" in written.out.replace("\n", " ")
    assert "lines 4, 5: the same text is goodbye and greeting" in written.err
    assert "lines 2, 3, 6: the same text is always greeting" in written.err
    monkeypatch.setattr(data, "SHOWN_FINDINGS", 0)
    assert run(source, "--force") == command_line.OK
    assert "and 1 more; --json lists all" in capsys.readouterr().err


def test_no_file_is_overwritten_unasked_and_never_the_input(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source.with_suffix(".jsonl").write_text("")
    assert run(source) == command_line.BAD_INPUT
    assert "--force replaces it" in capsys.readouterr().err
    assert run(source, "-o", source, "--force") == command_line.BAD_INPUT
    assert "would be overwritten" in capsys.readouterr().err
    assert source.read_text() == ROWS
