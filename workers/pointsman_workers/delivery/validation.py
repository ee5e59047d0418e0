"""What a message must look like before a worker acts on it. Pure; an error quotes nothing of what it refuses.

Anything that reaches Redis can push anything onto a queue. Kombu and Celery trust what they find there and fail in many
ways, some of which end the consumer; a message that passes here does not.
"""

import base64
import binascii
import contextlib
import json
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, NamedTuple, NoReturn

import pydantic_core
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pointsman_shared import errors
from pointsman_shared.wire import jobs

MAX_BYTES: Final = jobs.MAX_MESSAGE_BYTES
MAX_NESTING: Final = 32
MAX_ID_CHARS: Final = 200
# The caller of a message with a longer id is not told why it was refused.
MAX_CLAIMED_CHARS: Final = 10_000
_CONTAINERS: Final = frozenset({dict, list, tuple})

Name = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARS)]
Text = Annotated[str, Field(max_length=4_096)] | None
Count = Annotated[int, Field(ge=0, lt=2**31)] | None
Seconds = Annotated[float, Field(gt=0, lt=2**31)] | None


class MalformedMessageError(errors.InvalidMessageError):
    """Something on a queue cannot be read as a message."""


class UnknownTaskError(MalformedMessageError):
    """A message asks for a task that the worker does not have."""

    def __init__(self, why: str, task: str) -> None:
        super().__init__(why)
        self.task = task


class Claim(NamedTuple):
    """Whose outcome something says it is, which may be a lie: the message's id and body, and who waits for it."""

    id: str | None
    body: object = None
    client_id: str | None = None


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True)


class _Headers(_Part):
    task: Name
    id: Name
    compression: Literal["", None] = None
    shadow: Text = None
    eta: Text = None
    expires: Text = None
    root_id: Text = None
    parent_id: Text = None
    group: Text = None
    origin: Text = None
    lang: Text = None
    argsrepr: Text = None
    kwargsrepr: Text = None
    retries: Count = None
    replaced_task_nesting: Count = None
    group_index: Count = None
    timelimit: Annotated[list[Seconds], Field(min_length=2, max_length=2)] | None = None
    stamped_headers: list[Any] | None = None
    stamps: dict[str, Any] | None = None


class _Properties(_Part):
    delivery_tag: Annotated[str, Field(min_length=1)]
    delivery_info: dict[str, Any]
    body_encoding: Literal["base64", None] = None
    reply_to: Text = None
    correlation_id: Text = None
    priority: Count = None


class _Outer(_Part):
    body: Annotated[str, Field(min_length=1)]
    content_type: Literal["application/json"] = Field(alias="content-type")
    content_encoding: Annotated[str, Field(pattern="(?i)^utf-?8$")] = Field(alias="content-encoding")
    properties: _Properties


class _Envelope(_Outer):
    headers: _Headers


def _signature(value: dict[str, Any]) -> dict[str, Any]:
    shapes: dict[str, type] = {"task": str, "args": list, "kwargs": dict, "options": dict}
    for name, shape in shapes.items():
        if not isinstance(value.get(name) or shape(), shape) or not value.get("task"):
            msg = f"it is no signature of a task: {name}"
            raise ValueError(msg)
    return value


_Signature = Annotated[dict[str, Any], AfterValidator(_signature)]


class _Embed(_Part):
    callbacks: list[_Signature] | None = None
    errbacks: list[_Signature] | None = None
    chain: list[_Signature] | None = None
    chord: _Signature | None = None


# Celery's own tasks that run another one inside them, with no message of its own.
_UNDER_NO_ID: Final = frozenset({"celery.map", "celery.starmap", "celery.chunks"})
_BODY: Final = TypeAdapter(tuple[list[Any], dict[str, Any], _Embed | None])


def read(raw: bytes, tasks: object) -> tuple[dict[str, Any], list[Any]]:
    """Return the envelope of a message as kombu wants it, and its decoded body: `[args, kwargs, embed]`.

    Raises `MalformedMessageError` if it cannot be read, has the wrong shape, or asks for an unknown task.
    """
    if len(raw) > MAX_BYTES:
        _refuse(f"{len(raw)} bytes; at most {MAX_BYTES} are taken")
    with _refusing():
        found = _Envelope.model_validate_json(raw)
        envelope: dict[str, Any] = json.loads(raw)
        # Unlike json, it refuses half of a surrogate pair, which nothing could encode again.
        body: list[Any] = pydantic_core.from_json(_content(found))
        _BODY.validate_python(body)
    if found.headers.task in _UNDER_NO_ID or found.headers.task not in tasks:  # type: ignore[operator]  # any container
        msg = "headers.task: this worker knows no such task"
        raise UnknownTaskError(msg, found.headers.task)
    # Ours have limits of their own, and it is they that an error names.
    envelope["headers"].pop("timelimit", None)
    if not is_shallow([envelope["headers"], body], MAX_NESTING + 1):
        _refuse(f"its headers or its body are nested deeper than {MAX_NESTING} levels")
    return envelope, body


def claim(raw: bytes) -> Claim:
    """Return whose outcome something is that may be anything."""
    try:
        found = json.loads(raw)
        message_id, client_id = found["headers"]["id"], found["properties"].get("reply_to")
        # What cannot be encoded is no key of Redis.
        known = [isinstance(name, str) and bool(name.encode()) for name in (message_id, client_id)]
        if known[0] and len(message_id) <= MAX_CLAIMED_CHARS:
            return Claim(message_id, found.get("body"), client_id if known[1] else None)
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        pass
    return Claim(None)


def read_reply(raw: bytes) -> dict[str, Any]:
    """Return the envelope of another worker's reply to this one; Celery's remote control reads its content.

    Raises `MalformedMessageError` if it has the wrong shape.
    """
    with _refusing():
        _Outer.model_validate_json(raw)
        envelope: dict[str, Any] = json.loads(raw)
    return envelope


def is_shallow(value: object, levels: int) -> bool:
    """Return whether containers are nested at most so deeply."""
    level = _inside([[value]])
    while level and levels:
        level, levels = _inside(level), levels - 1
    return not level


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """Raise `MalformedMessageError` for what is no JSON or has the wrong shape."""
    try:
        yield
    except ValidationError as error:
        _refuse(_described(error))
    except (ValueError, RecursionError) as error:
        _refuse(f"it cannot be read as JSON ({type(error).__name__})")


def _content(found: _Envelope) -> bytes:
    if found.properties.body_encoding is None:
        return found.body.encode()
    try:
        return base64.b64decode(found.body)
    except binascii.Error:
        _refuse("body: it is not base64")


def _inside(containers: list[Any]) -> list[Any]:
    """Return the containers directly inside others. Decoded JSON has exact types, which compare fast."""
    found: list[Any] = []
    for outer in containers:
        inside = outer.values() if type(outer) is dict else outer
        found += [inner for inner in inside if type(inner) in _CONTAINERS]
    return found


def _described(error: ValidationError) -> str:
    # A message that is compressed has a binary body, too; the first problem is the cause.
    if any(detail["loc"][-1:] == ("compression",) for detail in error.errors(include_input=False)):
        return "headers.compression: it is compressed; messages are taken uncompressed"
    return jobs.describe(error)


def _refuse(why: str) -> NoReturn:
    raise MalformedMessageError(why)
