"""Files of labels."""

from pathlib import Path

import pytest

from pointsman_producer.files import labels as label_files
from pointsman_shared import errors

ROW = {
    "job_id": "m:3",
    "text": '"now", he said',
    "served": "greeting",
    "candidate": "goodbye",
    "agreed": False,
    "probability": 0.5,
}


@pytest.mark.parametrize("name", ["todo.csv", "todo.jsonl"])
def test_what_was_drawn_can_be_filled_and_read_again(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    label_files.write(path, [ROW, {**ROW, "job_id": "m:4"}], label_files.QUEUE_COLUMNS)
    assert label_files.read(path) == ([], [], 2)
    label_files.write(path, [ROW | {"label": "goodbye"}, ROW], {"label": "text", **label_files.QUEUE_COLUMNS})
    filled = path.read_text()
    if name.endswith("csv"):
        filled = filled.replace(",,", ",goodbye,", 1)
    path.write_text(filled)
    labels, lines, empty = label_files.read(path, by="ana")
    assert {"job_id": "m:3", "label": "goodbye", "by": "ana"} in labels
    assert len(labels) + empty == 2
    assert len(lines) == len(labels)


def test_parquet_has_the_same_columns(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "todo.parquet"
    label_files.write(path, [ROW], label_files.QUEUE_COLUMNS)
    assert parquet.read_table(path).to_pylist() == [ROW | {"label": None}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("job_id,label\nnonsense,greeting\n", ":2: 'nonsense' is not a job id"),
        ("job_id,label\n,greeting\n", ":2: job_id is missing"),
        (f"job_id,label\nm:1,{'x' * 300}\n", ":2: .*200"),
        ("id,label\nm:1,greeting\n", "must name the columns job_id,label"),
        ("job_id,label\n", "holds no labels"),
    ],
)
def test_bad_labels_are_named_by_their_lines(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(content)
    with pytest.raises(errors.InvalidDataError, match=said):
        label_files.read(path)


def test_a_label_that_is_a_list_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text('{"job_id": "m:1", "label": "greeting"}\n{"job_id": "m:2", "label": ["greeting"]}\n')
    with pytest.raises(errors.InvalidDataError, match=":2: label is not a string"):
        label_files.read(path)
