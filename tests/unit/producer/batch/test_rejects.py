"""Where lines go that cannot be used."""

import json
from contextlib import closing
from pathlib import Path

from pointsman_producer.batch.rejects import RejectedLines
from pointsman_producer.transcripts.reader import Rejection


def test_rejected_lines_get_a_file_only_if_there_are_any(tmp_path: Path) -> None:
    told: list[Rejection] = []
    path = tmp_path / "r.jsonl"
    path.write_text("of an earlier run")
    with closing(RejectedLines(path, told.append)) as rejected:
        rejected.begin()
        assert not path.exists()
        rejected.add(Rejection(line=4, reason="why", content="what"))
    assert json.loads(path.read_text()) == {"line": 4, "reason": "why", "content": "what"}
    assert (rejected.count, told[0].line) == (1, 4)
