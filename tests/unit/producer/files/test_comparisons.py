"""Reading files for comparing two models."""

import json
from pathlib import Path

import pytest

from pointsman_producer.files import comparisons as comparison_files
from pointsman_shared import errors

CONVERSATION = {
    "conversation_id": "c-1",
    "turns": [
        {"speaker": "customer", "text": "hi"},
        {"speaker": "agent", "text": "Hello!"},
        {"speaker": "customer", "text": "bye"},
    ],
}


def written(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "content", "texts", "labels"),
    [
        ("a.csv", 'text,intent\n"hi, you",greeting\nbye,\n', ["hi, you", "bye"], ["greeting", None]),
        (
            "a.jsonl",
            '{"text": "hi", "intent": "greeting"}\n{"text": "bye"}',
            ["hi", "bye"],
            ["greeting", None],
        ),
        ("a.yml", "nlu:\n- intent: greeting\n  examples: |\n    - hi\n", ["hi"], ["greeting"]),
        ("a.jsonl", json.dumps(CONVERSATION), ["hi", "bye"], None),
        ("a.csv", "conversation_id,speaker,text\nc,customer,hi\nc,agent,hello\n", ["hi"], None),
        ("a.jsonl", '{"text": "hi"}\n{"text": "bye"}', ["hi", "bye"], None),
        ("a.txt", "hi\nbye\n", ["hi", "bye"], None),
    ],
)
def test_texts_are_read_with_their_labels_if_there_are_any(
    tmp_path: Path, name: str, content: str, texts: list[str], labels: list[str | None] | None
) -> None:
    assert comparison_files.read_texts(written(tmp_path, name, content)) == (texts, labels)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no texts"),
        ('{"text": "hi", "intent": "greeting"}\n{"intent": "goodbye"}\nnonsense', ":3: is not JSON"),
        ('{"text": "hi", "intent": "greeting"}\n{"intent": "goodbye"}', ":2: text is missing"),
        ('{"text": "hi", "intent": 3}', ":1: intent is not a string"),
        ('{"text": "hi"}\n{"text": " "}', ":2: text is empty"),
    ],
)
def test_bad_texts_are_named_by_their_lines(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(errors.InvalidDataError, match=said):
        comparison_files.read_texts(written(tmp_path, "a.jsonl", content))


def test_too_many_texts_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison_files, "MAX_ROWS", 2)
    path = written(tmp_path, "a.txt", "one\ntwo\nthree\nfour\n")
    with pytest.raises(errors.InvalidDataError, match="more than 2 texts"):
        comparison_files.read_texts(path)


def test_predictions_are_in_columns_named_as_the_models(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "a.csv",
        "Rasa,bert,Rasa_confidence,label,text\nEMI,COD,0.5,EMI,in rates?\nEMI,EMI,1,,\n",
    )
    found = comparison_files.read_predictions(path, "Rasa", "bert")
    assert (found.served.intent, found.candidate.intent) == (["EMI", "EMI"], ["COD", "EMI"])
    assert (found.served.confidence, found.candidate.confidence) == ([0.5, 1.0], None)
    assert (found.labels, found.texts) == (["EMI", None], ["in rates?", None])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"rasa": "a"}, ":1: bert is missing"),
        ({"rasa": "a", "bert": ["b"]}, ":1: bert is not a string"),
        ({"rasa": "a", "bert": "b", "bert_confidence": 1.5}, ":1: bert_confidence is no number from 0 to 1"),
        ({"rasa": "a", "bert": "b", "bert_confidence": True}, ":1: bert_confidence is no number from 0 to 1"),
        (
            {"rasa": "a", "bert": "b", "bert_confidence": "nan"},
            ":1: bert_confidence is no number from 0 to 1",
        ),
    ],
)
def test_bad_predictions_are_named_by_their_lines(tmp_path: Path, row: dict[str, object], said: str) -> None:
    path = written(tmp_path, "a.jsonl", json.dumps(row))
    with pytest.raises(errors.InvalidDataError, match=said):
        comparison_files.read_predictions(path, "rasa", "bert")


def test_a_confidence_that_some_rows_lack_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "r,b,r_confidence\nx,y,0.5\nx,y,\n")
    with pytest.raises(errors.InvalidDataError, match="r_confidence is there in some rows only"):
        comparison_files.read_predictions(path, "r", "b")


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidDataError, match="same name"):
        comparison_files.read_predictions(tmp_path / "a.csv", "pro", "pro")
