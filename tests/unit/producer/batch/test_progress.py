"""How far a batch has come, and where lines go that cannot be used."""

import json
from contextlib import closing
from pathlib import Path

from pointsman_producer.batch.progress import Progress, RejectedLines, Watcher
from pointsman_producer.transcripts.reader import Rejection


class Told(Watcher):
    """Remembers the lines that it was given."""

    def __init__(self) -> None:
        self.lines: list[int] = []

    def rejected(self, rejection: Rejection) -> None:
        self.lines.append(rejection.line)


def test_rejected_lines_get_a_file_only_if_there_are_any(tmp_path: Path) -> None:
    told, progress = Told(), Progress()
    path = tmp_path / "r.jsonl"
    path.write_text("of an earlier run")
    with closing(RejectedLines(path, progress, told)) as rejected:
        rejected.begin()
        assert not path.exists()
        rejected.add(Rejection(line=4, reason="why", content="what"))
    assert json.loads(path.read_text()) == {"line": 4, "reason": "why", "content": "what"}
    assert (progress.rejected, told.lines) == (1, [4])


def test_without_a_size_or_a_line_read_the_time_left_is_not_known() -> None:
    assert Progress().left_s is None
    assert Progress(size=100).left_s is None
    assert Progress(position=50).left_s is None


def test_the_pace_is_that_of_this_run() -> None:
    progress = Progress(size=100, position=50)
    progress.resume(10, 50)
    assert (progress.resumed, progress.left_s) == (10, None)
    progress.add(["a"], ["base"], [[0, 1]], 60)
    assert (progress.outcomes, progress.ranks, progress.position) == (1, 2, 60)
    assert progress.left_s is not None
