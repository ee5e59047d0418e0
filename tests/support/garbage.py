"""What any client of Redis can push onto a queue: none of it is a message that can be run."""

import base64
import gzip
import json
import pickle
import random
import zlib
from collections.abc import Callable
from typing import Any

from pointsman_shared import names
from tests.support.default_keys import BULK

SECRET = "a very secret utterance"


def message(body: object = None, **changes: Any) -> dict[str, Any]:
    """Give a sound message, but for what is changed: `headers_x`, `properties_x`, or a part of the envelope."""
    body = [[{"texts": [SECRET]}], {}, {}] if body is None else body
    sound: dict[str, Any] = {
        "body": base64.b64encode(json.dumps(body).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": names.CLASSIFY_TASK,
            "id": f"g-{random.getrandbits(64)}",
            "argsrepr": SECRET,
        },
        "properties": {
            "delivery_info": {"exchange": "", "routing_key": BULK},
            "delivery_tag": f"t-{random.getrandbits(64)}",
            "body_encoding": "base64",
        },
    }
    for name, value in changes.items():
        part, _, key = name.partition("_")
        if part in {"headers", "properties"} and key:
            sound[part][key] = value
        else:
            sound[name.replace("_", "-")] = value
    return sound


def _without(part: str, key: str | None = None) -> bytes:
    sound = message()
    if key is None:
        del sound[part]
    else:
        del sound[part][key]
    return json.dumps(sound).encode()


def _encoded(**changes: Any) -> bytes:
    return json.dumps(message(**changes)).encode()


def _body(body: object) -> bytes:
    return json.dumps(message(body)).encode()


def _raw_body(content: bytes, **changes: Any) -> bytes:
    return _encoded(body=base64.b64encode(content).decode(), **changes)


def _nested(levels: int) -> str:
    return "[" * levels + "]" * levels


KINDS: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "text": SECRET.encode,
    "bytes": lambda: bytes(range(256)),
    "half a message": lambda: _encoded()[:-40],
    "a number": lambda: b"7",
    "null": lambda: b"null",
    "a list": lambda: b"[1, 2]",
    "an empty object": lambda: b"{}",
    "a deeply nested envelope": lambda: _nested(100_000).encode(),
    "no body": lambda: _without("body"),
    "no headers": lambda: _without("headers"),
    "no properties": lambda: _without("properties"),
    "no delivery tag": lambda: _without("properties", "delivery_tag"),
    "no delivery info": lambda: _without("properties", "delivery_info"),
    "no id": lambda: _without("headers", "id"),
    "no task": lambda: _without("headers", "task"),
    "headers of another type": lambda: _encoded(headers=[1]),
    "null headers": lambda: _encoded(headers=None),
    "a body of another type": lambda: _encoded(body={"texts": 7}),
    "a body that is no base64": lambda: _encoded(body="%%%"),
    "a body that is no JSON": lambda: _raw_body(SECRET.encode()),
    "a body that is no UTF-8": lambda: _raw_body(b"\xff\xfe\x00"),
    "a deeply nested body": lambda: _raw_body(_nested(50_000).encode()),
    "a body nested a little too deeply": lambda: _raw_body(f"[[{_nested(200)}], {{}}, {{}}]".encode()),
    "a body of another shape": lambda: _body([1]),
    "a body of protocol 1": lambda: _body({"task": names.CLASSIFY_TASK, "id": "x", "args": [], "kwargs": {}}),
    "arguments of another type": lambda: _body([7, {}, {}]),
    "keyword arguments of another type": lambda: _body([[], [], {}]),
    "callbacks of another type": lambda: _body([[{}], {}, {"callbacks": 7}]),
    "a pickle": lambda: _raw_body(
        pickle.dumps([[], {}, {}]), content_type="application/x-python-serialize", content_encoding="binary"
    ),
    "YAML": lambda: _raw_body(b"- []\n- {}\n- {}\n", content_type="application/x-yaml"),
    "a compression bomb": lambda: _raw_body(
        zlib.compress(b" " * 50_000_000), headers_compression="application/x-gzip"
    ),
    "compressed": lambda: _raw_body(gzip.compress(b"[[],{},{}]"), headers_compression="gzip"),
    "an unknown compression": lambda: _encoded(headers_compression="middle-out"),
    "an unknown body encoding": lambda: _encoded(properties_body_encoding="rot13"),
    "an unknown content type": lambda: _encoded(content_type="text/secret"),
    "another character set": lambda: _encoded(content_encoding="utf-16"),
    "an unknown task": lambda: _encoded(headers_task="no.such.task"),
    "a task of another type": lambda: _encoded(headers_task={"x": 1}),
    "an id of another type": lambda: _encoded(headers_id=[7]),
    "an endless id": lambda: _encoded(headers_id="x" * 100_000),
    "an eta that is no time": lambda: _encoded(headers_eta="tomorrow"),
    "an expiry of another type": lambda: _encoded(headers_expires={"x": 1}),
    "a time limit of another type": lambda: _encoded(headers_timelimit="soon"),
    "retries of another type": lambda: _encoded(headers_retries="many"),
    "a reply address of another type": lambda: _encoded(properties_reply_to=[1]),
    "stamps of another type": lambda: _encoded(headers_stamped_headers=7),
    "a priority of another type": lambda: _encoded(properties_priority="high"),
}
