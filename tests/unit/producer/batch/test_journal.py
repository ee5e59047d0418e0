"""What a journal keeps through kills and rivals."""

from contextlib import closing
from pathlib import Path

import pytest

from pointsman_producer.batch import journal
from pointsman_producer.batch.journal import Header, Journal
from pointsman_shared import errors


def header(batch: str = "b", size: int | None = 1) -> Header:
    return Header(
        batch=batch,
        input="in.jsonl",
        size=size,
        sha256=None,
        speakers=["customer"],
        include_text=True,
        ranking=1,
        texts_per_message=5,
    )


def opened(
    folder: Path, asked: Header, *, resume: bool = True, batch_id: str | None = None
) -> tuple[Journal, Header]:
    return journal.open_journal(folder / "j", folder / "h", asked, resume=resume, batch_id=batch_id)


@pytest.mark.parametrize("tail", [b"", b'{"n":3,"text":"long enough', b'{"n":3}', b"\0" * 20 + b"\n"])
def test_a_journal_reads_back_what_was_appended_and_cuts_off_what_is_torn(
    tmp_path: Path, tail: bytes
) -> None:
    paths = (tmp_path / "j", tmp_path / "h")
    with closing(Journal(*paths)) as journal:
        assert journal.is_new
        journal.begin(b"head")
        journal.append([b'{"n":1}\n', b'{"n":2}\n'])
    paths[0].write_bytes(paths[0].read_bytes() + tail)
    with closing(Journal(*paths)) as journal:
        assert (journal.is_new, paths[1].read_bytes()) == (False, b"head")
        assert journal.replay(1) == [{"n": 1}]
        assert journal.replay(5) == [{"n": 2}]
        assert journal.replay(5) == []
        journal.append([b'{"n":4}\n'])
    assert paths[0].read_bytes() == b'{"n":1}\n{"n":2}\n{"n":4}\n'


def test_a_journal_belongs_to_one_run_at_a_time(tmp_path: Path) -> None:
    paths = (tmp_path / "j", tmp_path / "h")
    with closing(Journal(*paths)), pytest.raises(errors.BusyError, match="another run is writing"):
        Journal(*paths)


def test_a_journal_that_cannot_be_resumed_leaves_nothing_behind(tmp_path: Path) -> None:
    for keep in (False, True):
        with closing(Journal(tmp_path / "j", tmp_path / "h")) as journal:
            journal.begin(b"head")
            if keep:
                journal.keep()
        assert sorted(path.name for path in tmp_path.iterdir()) == (["h", "j"] if keep else [])


def test_a_journal_is_resumed_under_the_header_it_was_started_with(tmp_path: Path) -> None:
    for asked, expected in (("b", "b"), ("random", "b")):
        held, stored = opened(tmp_path, header(asked))
        with closing(held):
            held.keep()
        assert stored.batch == expected


def test_a_journal_is_started_anew_where_it_is_not_to_be_resumed(tmp_path: Path) -> None:
    for batch in ("b", "c"):
        held, stored = opened(tmp_path, header(batch), resume=False)
        with closing(held):
            held.append([b'{"n":1}\n'])
        assert stored.batch == batch
    assert (tmp_path / "j").read_bytes() == b'{"n":1}\n'


@pytest.mark.parametrize(
    ("asked", "batch_id", "reason"),
    [(header(size=2), None, "is not, or no longer, the file"), (header("c"), "c", "its batch is b")],
)
def test_a_journal_that_does_not_fit_is_refused_and_let_go(
    tmp_path: Path, asked: Header, batch_id: str | None, reason: str
) -> None:
    held, _ = opened(tmp_path, header())
    with closing(held):
        held.keep()
    with pytest.raises(errors.InvalidDataError, match=reason):
        opened(tmp_path, asked, batch_id=batch_id)
    held, _ = opened(tmp_path, header())
    held.close()


def test_a_header_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "j").touch()
    (tmp_path / "h").write_text("{}")
    with pytest.raises(errors.InvalidDataError, match="h is not the header of a batch: batch: is missing"):
        opened(tmp_path, header())


@pytest.mark.parametrize("replaced", [False, True])
def test_a_journal_that_is_deleted_while_it_is_written_is_noticed_at_the_next_row(
    tmp_path: Path, replaced: bool
) -> None:
    path = tmp_path / "j"
    with closing(Journal(path, tmp_path / "h")) as journal:
        journal.begin(b"head")
        journal.append([b'{"n":1}\n'])
        path.unlink()
        if replaced:
            path.touch()
        with pytest.raises(errors.InvalidDataError, match="deleted or replaced") as refused:
            journal.append([b'{"n":2}\n'])
        assert refused.value.remedy is errors.Remedy.START_OVER
