"""What a message must look like before anything of it is believed. Pure; quotes nothing of what it refuses.

Anybody who reaches Redis can push anything onto a queue's list. Kombu and Celery believe what they find there and fail
in many ways, some of which end the consumer; whatever passes here does not.
"""

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NoReturn

from pointsman_shared import errors
from pointsman_shared.wire import jobs

MAX_BYTES: Final = jobs.MAX_MESSAGE_BYTES
MAX_NESTING: Final = 32
MAX_ID_CHARS: Final = 200
MAX_HEADER_CHARS: Final = 4_096
_ENCODINGS: Final = {"utf-8", "utf8"}
_PROTOCOL_PARTS: Final = 3
_TIME_LIMITS: Final = 2
_CONTAINERS: Final = frozenset({dict, list, tuple})


class MalformedMessageError(errors.InvalidMessageError):
    """Something on a queue is no message that can be read."""


def read(raw: bytes) -> dict[str, Any]:
    """Read what lay on a queue, as far as kombu needs it to be sound.

    Raises:
        MalformedMessageError: It is no envelope of a message.
    """
    envelope = _object(raw)
    headers, properties = envelope.get("headers"), envelope.get("properties")
    if not isinstance(headers, dict) or not isinstance(properties, dict):
        _refuse("it has no headers or no properties")
    if headers.get("compression"):
        _refuse("it is compressed; messages are taken uncompressed")
    _need_text(envelope, "body", none=False, limit=MAX_BYTES)
    _need_text(properties, "delivery_tag", none=False)
    if properties.get("body_encoding") not in {None, "base64"}:
        _refuse("its body has an encoding other than base64")
    if not isinstance(properties.get("delivery_info"), dict):
        _refuse("it has no delivery_info")
    return envelope


def _object(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_BYTES:
        _refuse(f"{len(raw)} bytes; at most {MAX_BYTES} are taken")
    try:
        envelope = json.loads(raw)
    except (ValueError, RecursionError) as error:
        _refuse(f"no JSON that can be read ({type(error).__name__})")
    if not isinstance(envelope, dict):
        _refuse("the envelope is no JSON object")
    return envelope


def check_headers(
    headers: Mapping[str, Any],
    properties: Mapping[str, Any],
    *,
    content_type: object,
    encoding: object,
    tasks: Collection[str],
) -> None:
    """Check what Celery reads of a message before it decodes the body.

    Raises:
        MalformedMessageError: Something has the wrong type, or asks for what there is not.
    """
    if content_type != "application/json" or str(encoding).lower() not in _ENCODINGS:
        _refuse("its content is no UTF-8 JSON")
    _need_text(headers, "task", none=False, limit=MAX_ID_CHARS)
    _need_text(headers, "id", none=False, limit=MAX_ID_CHARS)
    if headers["task"] not in tasks:
        _refuse("it asks for a task that is not known here")
    for name in (
        "shadow",
        "eta",
        "expires",
        "root_id",
        "parent_id",
        "group",
        "origin",
        "lang",
        "argsrepr",
        "kwargsrepr",
    ):
        _need_text(headers, name)
    for name in ("reply_to", "correlation_id"):
        _need_text(properties, name)
    for name in ("retries", "replaced_task_nesting", "group_index"):
        _need(headers, name, _is_count, "a count")
    _need(properties, "priority", _is_count, "a count")
    _need(headers, "timelimit", _is_time_limits, "two numbers")
    _need(headers, "stamped_headers", lambda value: isinstance(value, list), "a list")
    _need(headers, "stamps", lambda value: isinstance(value, dict), "an object")
    if not is_shallow(headers, MAX_NESTING):
        _refuse(f"its headers are nested deeper than {MAX_NESTING} levels")


def check_body(body: object) -> None:
    """Check a decoded body: Celery's protocol 2.

    Raises:
        MalformedMessageError: It has another shape, or is nested too deeply.
    """
    if not isinstance(body, list | tuple) or len(body) != _PROTOCOL_PARTS:
        _refuse("its body is not [args, kwargs, embed]: Celery's protocol 2 is needed")
    args, kwargs, embed = body
    if not isinstance(args, list) or not isinstance(kwargs, dict) or not isinstance(embed, dict | None):
        _refuse("its body is not [list, object, object]")
    for name in ("callbacks", "errbacks", "chain"):
        _need(embed or {}, name, lambda value: isinstance(value, list), "a list")
    _need(embed or {}, "chord", lambda value: isinstance(value, dict), "an object")
    if not is_shallow(body, MAX_NESTING):
        _refuse(f"its body is nested deeper than {MAX_NESTING} levels")


def is_shallow(value: object, levels: int) -> bool:
    """Say whether containers are nested at most so deeply."""
    level = _inside([[value]])
    while level and levels:
        level, levels = _inside(level), levels - 1
    return not level


def _inside(containers: list[Any]) -> list[Any]:
    """Give the containers that lie directly in others. What JSON is decoded to has exact types, which compare fast."""
    found: list[Any] = []
    for outer in containers:
        inside = outer.values() if type(outer) is dict else outer
        found += [inner for inner in inside if type(inner) in _CONTAINERS]
    return found


def _need_text(
    part: Mapping[str, Any], name: str, *, none: bool = True, limit: int = MAX_HEADER_CHARS
) -> None:
    value = part.get(name)
    if value is None and none:
        return
    if not isinstance(value, str) or not value or len(value) > limit:
        if none and value == "":
            return
        _refuse(f"its {name} is no text of 1 to {limit} characters")


def _need(part: Mapping[str, Any], name: str, fits: Callable[[Any], bool], what: str) -> None:
    value = part.get(name)
    if value is not None and not fits(value):
        _refuse(f"its {name} is not {what}")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _is_time_limits(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == _TIME_LIMITS
        and all(part is None or (isinstance(part, int | float) and 0 < part < 2**31) for part in value)
    )


def _refuse(why: str) -> NoReturn:
    raise MalformedMessageError(why)
