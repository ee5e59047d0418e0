"""Reading what workers and queues leave in Redis."""

import base64
import json

import pytest

from pointsman_producer.diagnostics import probe


def message(body: object) -> bytes:
    encoded = base64.b64encode(json.dumps(body).encode()).decode()
    return json.dumps({"body": encoded, "headers": {}, "properties": {}}).encode()


def test_the_age_of_a_message_is_read_from_its_request() -> None:
    assert probe.submitted_at(message([[{"texts": ["hi"], "submitted_at": 12.5}], {}, {}])) == 12.5


@pytest.mark.parametrize(
    "raw",
    [
        b"not json",
        b"[]",
        b'"text"',
        b"{}",
        b'{"body": 3}',
        b'{"body": "%%%"}',
        message([]),
        message([[]]),
        message([["text"], {}, {}]),
        message([[{"tier": "base"}], {}, {}]),
        message([[{"submitted_at": None}], {}, {}]),
    ],
)
def test_a_message_that_does_not_say_when_it_was_sent_has_no_age(raw: bytes) -> None:
    assert probe.submitted_at(raw) is None


def test_a_worker_process_is_read_as_it_describes_itself() -> None:
    report = probe.process(
        {
            b"host": b"a",
            b"pid": b"7",
            b"updated_at": b"12.5",
            b"tiers": b'{"base": 3}',
            b"flags": b'{"source": "file", "etag": null, "fetched_at": 1.0, "problem": null}',
            b"problems": b'["tier pro: gone"]',
            b"versions": b'{"python": "3.11.7"}',
        }
    )
    assert (report["host"], report["pid"], report["updated_at"]) == ("a", 7, 12.5)
    assert (report["tiers"], report["problems"]) == ({"base": 3}, ["tier pro: gone"])
    assert report["flags"]["source"] == "file"
