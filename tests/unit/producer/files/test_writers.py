"""How a file gets its format and its place."""

import importlib.util
from pathlib import Path

import pytest

from pointsman_producer.files import writers
from pointsman_shared import errors


def test_the_ending_chooses_the_format() -> None:
    assert writers.format_of(Path("a.JSONL")) == "jsonl"
    assert writers.format_of(Path("a.csv")) == "csv"
    with pytest.raises(errors.InvalidDataError, match=r"has to end in one of \.jsonl"):
        writers.format_of(Path("a.xlsx"))


def test_parquet_without_pyarrow_is_refused_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(errors.InvalidDataError, match=r"pip install 'pointsman\[parquet\]'"):
        writers.format_of(Path("a.parquet"))


def test_a_published_file_replaces_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("old")
    writers.staged(out).write_text("new")
    assert out.read_text() == "old"
    writers.publish(writers.staged(out), out)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out.csv", "new")]


def test_a_file_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "out.html").mkdir()
    with (
        pytest.raises(errors.InvalidDataError, match=r"out\.html cannot be written: Is a directory"),
        writers.whole(tmp_path / "out.html") as new,
    ):
        new.write_text("page")
    assert [path.name for path in tmp_path.iterdir()] == ["out.html"]


@pytest.mark.parametrize("name", ["nosuch/out.csv", "file/out.csv", "x" * 300])
def test_a_path_that_cannot_be_written_is_named_with_the_reason(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / name
    with pytest.raises(errors.InvalidDataError) as refused, writers.whole(path) as new:
        new.write_text("x")
    assert str(refused.value).startswith(f"{path} cannot be written: ")


def test_a_full_disk_can_have_room_later(tmp_path: Path) -> None:
    with (
        pytest.raises(errors.RetryableError, match="out cannot be written: No space left"),
        writers.whole(tmp_path / "out"),
    ):
        Path("/dev/full").write_text("x")


def test_a_device_is_not_replaced_by_a_file() -> None:
    with pytest.raises(errors.InvalidDataError, match="not a regular file"):
        writers.require_free(Path("/dev/full"), force=True)
