"""Rows from the product and from elsewhere."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pointsman_shared import errors
from pointsman_workers import feeds


class Shelf:
    """Labels in memory."""

    def __init__(self, **labels: dict[str, Any]) -> None:
        self._labels = labels

    def labels(self) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from self._labels.items()


def label(text: str | None, intent: str = "greeting", tier: str = "base") -> dict[str, Any]:
    return {"text": text, "intent": intent, "tier": tier, "at": 1.0, "by": "marge"}


def test_labels_of_the_tier_with_a_text_are_rows() -> None:
    shelf = Shelf(
        b=label("ciao", "goodbye"), a=label("hi"), c=label(None), d=label("hi", tier="pro"), e=label(" ")
    )
    source = feeds.Labels(shelf).rows("base")
    assert source is not None
    assert [(row.text, row.intent) for row in source.rows] == [("hi", "greeting"), ("ciao", "goodbye")]


def test_no_labels_are_no_source() -> None:
    assert feeds.gather([feeds.Labels(Shelf())], "base") == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("base.jsonl", '{"text": "hi", "intent": "greeting"}\n'),
        ("base.csv", "text,intent\nhi,greeting\n"),
        ("base.yml", "nlu:\n- intent: greeting\n  examples: |\n    - hi\n"),
        ("base.json", '[{"text": "hi", "intent": "greeting"}]'),
    ],
)
def test_annotations_come_from_a_url_in_the_usual_formats(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    place = (tmp_path / name.replace("base", "{tier}")).as_uri().replace("%7B", "{").replace("%7D", "}")
    source = feeds.Annotations(place).rows("base")
    assert source is not None
    assert [(row.text, row.intent, row.source) for row in source.rows] == [("hi", "greeting", "annotations")]


def test_annotations_come_from_a_command_that_is_told_the_tier() -> None:
    program = "import json, sys; print(json.dumps({'text': 'hi ' + sys.argv[1], 'intent': 'greeting'}))"
    source = feeds.Annotations(f"{sys.executable} -c {json.dumps(program)} {{tier}}").rows("pro")
    assert source is not None
    assert [row.text for row in source.rows] == ["hi pro"]


@pytest.mark.parametrize(
    "place", ["file:///no/such/secret-file", f"{sys.executable} -c 'raise SystemExit(3)'", "/no/such"]
)
def test_annotations_that_cannot_be_fetched_stop_the_training_and_keep_the_place_secret(place: str) -> None:
    with pytest.raises(errors.InvalidDataError) as caught:
        feeds.Annotations(place).rows("base")
    assert "secret" not in str(caught.value)
