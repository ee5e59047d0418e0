"""Reading dead letters back."""

import base64
import json
from collections.abc import Mapping

import pytest

from pointsman_shared.store import dead_letters
from pointsman_shared.store.dead_letters import DeadLetter, Filter

STORED: Mapping[str, bytes] = {
    "reason": b"malformed",
    "error": b"MalformedMessageError",
    "detail": b"is not JSON",
    "queue": b"bulk",
}


def test_a_letter_that_could_not_be_read_counts_no_texts_and_no_attempts() -> None:
    letter = DeadLetter.parse("m", STORED)
    assert (letter.texts, letter.attempts, letter.submitted_at, letter.died_at) == (0, 0, 0.0, 0.0)
    assert (letter.task, letter.batch, letter.retryable, letter.versions) == ("", "", False, {})


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (json.dumps({"body": base64.b64encode(b'[["hi"], {}, {}]').decode()}).encode(), ["hi"]),
        (b"garbage \xff", "garbage \ufffd"),
        (b'{"body": "aGk="}', '{"body": "aGk="}'),
    ],
)
def test_the_arguments_are_shown_or_the_bytes_where_there_are_none(payload: bytes, shown: object) -> None:
    assert DeadLetter.parse("m", {**STORED, "payload": payload}).arguments() == shown


def test_a_filter_chooses_by_reason_and_by_batch() -> None:
    letter = DeadLetter.parse("m", {**STORED, "batch": b"b"})
    assert Filter().fits(letter)
    assert Filter(reason=dead_letters.MALFORMED, batch="b").fits(letter)
    assert not Filter(reason=dead_letters.POISON).fits(letter)
    assert not Filter(batch="other").fits(letter)
