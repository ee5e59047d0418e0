"""Where lines go that cannot be used."""

import json
from contextlib import closing
from pathlib import Path

from pointsman_producer.batch.progress import Progress, Watcher
from pointsman_producer.batch.rejects import RejectedLines
from pointsman_producer.transcripts.reader import Rejection


class Told(Watcher):
    """Remembers the lines that it was told of."""

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
