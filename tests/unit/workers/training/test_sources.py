"""Rows from the product and from elsewhere."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pointsman_shared import errors
from pointsman_workers.training import sources as row_sources
from tests.support import webhook
from tests.support.default_keys import keys


class Shelf:
    """Labels in memory."""

    keys = keys

    def __init__(self, **labels: dict[str, Any]) -> None:
        self._labels = labels

    def all(self) -> dict[str, dict[str, Any]]:
        return self._labels


def label(text: str | None, intent: str = "greeting", tier: str = "base") -> dict[str, Any]:
    return {"text": text, "intent": intent, "tier": tier, "at": 1.0, "by": "marge"}


def test_labels_of_the_tier_with_a_text_are_rows() -> None:
    shelf = Shelf(
        b=label("ciao", "goodbye"), a=label("hi"), c=label(None), d=label("hi", tier="pro"), e=label(" ")
    )
    source = row_sources.LabelledJobs(shelf).rows("base")  # type: ignore[arg-type]  # as far as it is used
    assert source is not None
    assert [(row.text, row.intent) for row in source.rows] == [("hi", "greeting"), ("ciao", "goodbye")]


def test_no_labels_are_no_source() -> None:
    assert row_sources.LabelledJobs(Shelf()).rows("base") is None  # type: ignore[arg-type]  # as far as it is used


FORMS = {
    "jsonl": '{"text": "hi", "intent": "greeting"}\n{"text": "ciao", "intent": "goodbye"}\n',
    "csv": "text,intent\nhi,greeting\nciao,goodbye\n",
    "yml": "version: '3.1'\nnlu:\n- intent: greeting\n  examples: |\n    - hi\n- intent: goodbye\n  examples: |\n    - ciao\n",
    "json": '[{"text": "hi", "intent": "greeting"},\n {"text": "ciao", "intent": "goodbye"}]',
}


def rows_from(place: str) -> list[tuple[str, str, str]]:
    source = row_sources.Annotations(place).rows("base")
    assert source is not None
    return [(row.text, row.intent, row.source) for row in source.rows]


BOTH = [("hi", "greeting", "annotations"), ("ciao", "goodbye", "annotations")]


@pytest.mark.parametrize("form", FORMS)
def test_the_end_of_a_url_tells_the_format(tmp_path: Path, form: str) -> None:
    (tmp_path / f"base.{form}").write_text(FORMS[form])
    assert rows_from(f"file://{tmp_path}/{{tier}}.{form}") == BOTH


@pytest.mark.parametrize("form", ["json", "jsonl"])
@pytest.mark.parametrize("place", ["cat {}", "file://{}"])
def test_a_command_and_a_url_without_a_known_end_give_json_or_json_lines(
    tmp_path: Path, form: str, place: str
) -> None:
    (tmp_path / "base").write_text(FORMS[form])
    assert rows_from(place.format(tmp_path / "{tier}")) == BOTH


@pytest.mark.parametrize("content", ["", "\n", "[]"])
def test_there_may_be_no_annotations_today(tmp_path: Path, content: str) -> None:
    (tmp_path / "base").write_text(content)
    assert row_sources.Annotations(f"cat {tmp_path}/{{tier}}").rows("base") is None


@pytest.mark.parametrize(
    ("form", "content", "problem"),
    [
        ("jsonl", "<html>Log in first</html>", "annotations:1: is not JSON"),
        ("jsonl", '{"text": "hi", "intent": "greeting"}\n{"text": "hi"', "annotations:2: is not JSON"),
        (
            "jsonl",
            '{"text": "hi"}\n{"intent": "greeting"}',
            "annotations:1: intent is missing\nannotations:2: text is",
        ),
        ("csv", "text,intent\nhi,there,greeting\n", "annotations:2: has more columns"),
        ("yml", "nlu:\n- intent: greeting\n", "annotations:2: the intent has no examples"),
        ("csv", "text,intent\n\xff,greeting\n", "annotations: is not UTF-8"),
    ],
)
def test_annotations_that_cannot_be_used_are_named_with_their_lines(
    tmp_path: Path, form: str, content: str, problem: str
) -> None:
    (tmp_path / f"base.{form}").write_bytes(content.encode("latin-1"))
    with pytest.raises(errors.InvalidDataError) as caught:
        row_sources.Annotations(f"file://{tmp_path}/{{tier}}.{form}").rows("base")
    assert problem in str(caught.value)


def test_annotations_come_from_a_command_that_gets_the_tier() -> None:
    program = "import json, sys; print(json.dumps({'text': 'hi ' + sys.argv[1], 'intent': 'greeting'}))"
    source = row_sources.Annotations(f"{sys.executable} -c {json.dumps(program)} {{tier}}").rows("pro")
    assert source is not None
    assert [row.text for row in source.rows] == ["hi pro"]


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("file:///no/such/secret-file", "could not be fetched: URLError"),
        ("http://127.0.0.1:1/secret", "could not be fetched: URLError"),
        ("http://secret\x00/", "could not be fetched: "),
        (f"{sys.executable} -c 'raise SystemExit(3)' secret", "failed with exit code 3"),
        ("/no/such/secret", "cannot be run: FileNotFoundError"),
        ("'secret", "cannot be run: ValueError"),
    ],
)
def test_annotations_that_cannot_be_fetched_stop_the_training_and_keep_the_place_secret(
    place: str, problem: str
) -> None:
    with pytest.raises(errors.InvalidDataError) as caught:
        row_sources.Annotations(place).rows("base")
    assert problem in str(caught.value)
    assert "secret" not in str(caught.value)


def test_annotations_that_are_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_sources, "MAX_BYTES", 1024 * 1024)
    (tmp_path / "base.jsonl").write_bytes(b"\n" * (1024 * 1024))
    annotations = row_sources.Annotations(f"file://{tmp_path}/{{tier}}.jsonl")
    assert annotations.rows("base") is None
    (tmp_path / "base.jsonl").write_bytes(b"\n" * (1024 * 1024 + 1))
    with pytest.raises(errors.InvalidDataError, match="have more than 1 MiB"):
        annotations.rows("base")


def test_a_url_that_refuses_says_with_which_status() -> None:
    with webhook.Webhook() as hook, pytest.raises(errors.InvalidDataError, match="HTTP 501"):
        row_sources.Annotations(hook.url).rows("base")
