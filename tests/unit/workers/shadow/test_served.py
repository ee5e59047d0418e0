"""What is read back of a served message."""

import base64
import json
from typing import Any

import pytest

from pointsman_shared.wire import jobs
from pointsman_workers.shadow.backlog import Taken
from pointsman_workers.shadow.served import Part, read

FREE, PRO = (jobs.User(id=plan, custom={"plan": plan}, country="GB") for plan in ("free", "pro"))
REPLY = {
    "message_id": "m",
    "intent": ["greeting", "goodbye", "payment_methods"],
    "confidence": [0.9, 0.8, 0.7],
    "route_of": [0, 1, 2],
    "routes": [
        {"tier": "pro", "model_version": 7, "inference_ms": 4.0},
        {"tier": "base", "model_version": 4, "inference_ms": 3.0},
        {"tier": "pro", "model_version": 7, "inference_ms": 4.0},
    ],
}


def taken(places: list[int] | None, *, texts: bool = True, pro: jobs.User = PRO) -> Taken:
    request = jobs.ClassifyRequest(texts=["hi", "bye", "card?"], users=[FREE, pro], user_of=[1, 0, -1])
    body = base64.b64encode(json.dumps([[request.model_dump()], {}, None]).encode()).decode()
    return Taken(
        message_id="m",
        tries=1,
        doing=None,
        served_at=86_399.0,
        places=places,
        shed=None,
        message=json.dumps({"body": body}).encode() if texts else None,
        outcome=json.dumps({"result": REPLY}).encode(),
    )


def facts(part: Part) -> dict[str, Any]:
    return {name: getattr(part, name) for name in ("name", "texts", "intent", "confidence", "inference_ms")}


def test_the_chosen_texts_come_with_the_version_that_served_them() -> None:
    [part] = read(taken([0, 2]), ("plan", "country", "language", "nope"))
    assert facts(part) == {
        "name": "pro@7",
        "texts": ["hi", "card?"],
        "intent": ["greeting", "payment_methods"],
        "confidence": [0.9, 0.7],
        "inference_ms": 4.0,
    }
    assert part.attributes == {"plan": ["pro", None], "country": ["GB", None]}
    assert (part.job(1), part.day) == ("m:2", "1970-01-01")


def test_the_time_of_a_version_is_shared_by_all_its_texts_the_chosen_and_the_others() -> None:
    chosen = {place: read(taken([place]), ())[0].inference_ms for place in range(3)}
    assert chosen == {0: 2.0, 1: 3.0, 2: 2.0}


def test_a_long_value_of_an_attribute_is_cut() -> None:
    wordy = jobs.User(id="pro", custom={"plan": "x" * 100})
    [part] = read(taken([0], pro=wordy), ("plan",))
    assert part.attributes == {"plan": ["x" * 40]}


def test_each_version_has_a_part_of_its_own() -> None:
    parts = read(taken(None), ())
    assert [(part.name, list(part.places)) for part in parts] == [("pro@7", [0, 2]), ("base@4", [1])]


def test_texts_that_are_only_counted_need_no_request() -> None:
    parts = read(taken(None, texts=False), ("plan",))
    assert [(list(part.texts), part.attributes) for part in parts] == [([], {}), ([], {})]


def test_a_message_whose_outcome_is_gone_cannot_be_read() -> None:
    with pytest.raises(LookupError):
        read(Taken(**{**{name: getattr(taken(None), name) for name in Taken.__slots__}, "outcome": None}), ())
