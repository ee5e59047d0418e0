"""How files and standard input become numbered lines."""

import gzip
import io
import os
import sys
from contextlib import closing
from pathlib import Path

import pytest

from pointsman_producer.transcripts import lines
from pointsman_producer.transcripts.lines import Lines
from pointsman_shared import errors


def read(path: Path | str) -> list[tuple[int, bytes]]:
    with closing(Lines(str(path))) as file:
        return list(file)


def test_lines_are_numbered_and_lose_only_the_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes(b"\xef\xbb\xbfhi\r\n\n\xef\xbb\xbfbye")
    assert read(path) == [(1, b"hi\r\n"), (2, b"\n"), (3, b"\xef\xbb\xbfbye")]


def test_of_a_line_without_end_no_more_is_held_than_tells_that_it_is_too_long(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes(b"first\n" + b"x" * (lines.MAX_LINE_BYTES * 2 + 5) + b"\nlast\n")
    assert [(number, len(line)) for number, line in read(path)] == [
        (1, 6),
        (2, lines.MAX_LINE_BYTES + 1),
        (3, 5),
    ]


def test_gzip_is_read_as_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl.GZ"
    path.write_bytes(gzip.compress(b"hi\nbye\n"))
    assert read(path) == [(1, b"hi\n"), (2, b"bye\n")]


def test_a_broken_gzip_file_is_an_error_that_says_where(tmp_path: Path) -> None:
    path = tmp_path / "in.txt.gz"
    path.write_bytes(gzip.compress(b"hi\n" * 1000)[:-12])
    with pytest.raises(errors.InvalidDataError, match="cannot be read beyond line"):
        read(path)


def test_a_file_that_is_not_there_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidDataError, match="No such file"):
        read(tmp_path / "absent.jsonl")


def test_standard_input_stays_open_and_has_no_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"hi\n")))
    with closing(Lines(lines.STDIN)) as file:
        assert list(file) == [(1, b"hi\n")]
        assert (file.size, file.position) == (None, 0)
    assert not sys.stdin.closed


def test_the_position_reaches_the_size(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(gzip.compress(b"hi\n" * 50))
    with closing(Lines(str(path))) as file:
        assert len(list(file)) == 50
        assert file.position == file.size == path.stat().st_size


@pytest.mark.parametrize(
    ("name", "ending"),
    [("a.CSV", ".csv"), ("a.jsonl.gz", ".jsonl"), ("a.b/c.Txt.GZ", ".txt"), ("-", ".jsonl"), ("a", "")],
)
def test_the_ending_says_what_is_in_a_file(name: str, ending: str) -> None:
    assert lines.content_ending(name) == ending


@pytest.mark.parametrize("ending", ["txt", "csv"])
def test_a_file_that_shrinks_while_it_is_read_is_an_error_that_says_so(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"in.{ending}"
    path.write_bytes(b"hi\n" * 100_000)
    with closing(Lines(str(path))) as file:
        found = iter(file)
        next(found)
        os.truncate(path, 3_000)
        with pytest.raises(
            errors.InvalidDataError, match=r"became shorter while it was read.* of 300,000 bytes"
        ):
            list(found)


def test_a_closed_standard_input_is_an_error_and_no_matter_to_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.txt").write_text("hi")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(errors.InvalidDataError, match="standard input is closed"):
        Lines("-")
    assert read(tmp_path / "in.txt") == [(1, b"hi")]
