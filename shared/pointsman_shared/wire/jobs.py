"""The messages of classification, registry and training: the request of a producer and the reply of a worker.

Requests and replies of classification are columnar. A message carries many jobs, and work per text is the price of the
whole system; so texts, users and answers travel as columns, and become objects (`Outcome`) only on demand. The JSON
Schemas in `docs/schemas/` are generated from these models.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self

import pydantic_core
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pointsman_shared import errors, names

MAX_TEXTS = 2_000
MAX_TEXT_CHARS = 20_000
MAX_MESSAGE_CHARS = 4_000_000
# A whole message on its queue: every character of the largest texts is an emoji, which JSON escapes in 12 characters, in
# base64, with room for the rest.
MAX_MESSAGE_BYTES = MAX_MESSAGE_CHARS * 12 * 4 // 3 + 1_000_000
MAX_CUSTOM_ATTRIBUTES = 50
MAX_RANKING = 20
ANONYMOUS = -1

# JSON has no word for "not a number" and for infinity.
# Beyond 64 bits, an integer is read differently by different JSON libraries.
Integer = Annotated[int, Field(ge=-(2**63), lt=2**64)]
CustomValue = str | Integer | Annotated[float, Field(allow_inf_nan=False)] | bool | list[str]
Text = Annotated[str, Field(max_length=MAX_TEXT_CHARS, strict=True)]
Identifier = Annotated[str, Field(min_length=1, max_length=200)]


class Wire(BaseModel):
    """A part of a message: immutable, without unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def parse(cls, payload: object) -> Self:
        """Validate a payload.

        Raises:
            InvalidMessageError: It does not follow the schema. The error never quotes the input.
        """
        try:
            return cls.model_validate(payload)
        except ValidationError as error:
            raise errors.InvalidMessageError(describe(error)) from None


class User(Wire):
    """The user of a job: what the targeting rules of feature flags read."""

    id: Identifier
    email: str | None = Field(default=None, max_length=320)
    country: str | None = Field(default=None, max_length=100)
    custom: dict[str, CustomValue] = Field(default_factory=dict, max_length=MAX_CUSTOM_ATTRIBUTES)
    """Further attributes, such as `plan`. One that is None is left out."""

    @model_validator(mode="before")
    @classmethod
    def _explain_custom(cls, value: object) -> object:
        unknown = value.keys() - cls.model_fields.keys() if isinstance(value, dict) else ()
        if unknown:
            msg = f"a user has no field {min(unknown, key=str)!r}: further attributes, such as plan, go into custom"
            raise ValueError(msg)
        return value

    @field_validator("custom", mode="before")
    @classmethod
    def _drop_none(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {name: each for name, each in value.items() if each is not None}


class ClassifyRequest(Wire):
    """One message of `pointsman.classify`: 1..n texts and the users they belong to."""

    texts: list[Text] = Field(min_length=1, max_length=MAX_TEXTS)
    users: list[User] = Field(default_factory=list, max_length=MAX_TEXTS)
    """The distinct users of the texts."""
    user_of: list[int] | None = None
    """For each text the place of its user in `users`, or -1 for no user. May be left out with at most one user."""
    batch: Identifier | None = None
    """The batch whose progress this message counts towards."""
    include_texts: bool = False
    """Whether the reply repeats the texts. Pointsman's own client never asks for it: it has them."""
    ranking: int = Field(default=1, ge=1, le=MAX_RANKING)
    """How many intents the worker ranks for each text, at most; it computes and sends no more."""
    submitted_at: float | None = None
    """When the producer sent it, in seconds since the epoch; the wait counts from here."""

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        if self.user_of is None:
            if len(self.users) > 1:
                msg = "user_of is needed to say which of the users each text belongs to"
                raise ValueError(msg)
        elif len(self.user_of) != len(self.texts):
            msg = f"user_of has {len(self.user_of)} entries for {len(self.texts)} texts"
            raise ValueError(msg)
        elif min(self.user_of) < ANONYMOUS or max(self.user_of) >= len(self.users):
            msg = f"user_of names a user outside -1..{len(self.users) - 1}"
            raise ValueError(msg)
        if sum(map(len, self.texts)) > MAX_MESSAGE_CHARS:
            msg = f"the texts together exceed {MAX_MESSAGE_CHARS} characters; send several messages"
            raise ValueError(msg)
        return self

    def user_places(self) -> Sequence[int]:
        """Return for each text the place of its user, -1 for no user."""
        if self.user_of is not None:
            return self.user_of
        return [0 if self.users else ANONYMOUS] * len(self.texts)


# Names the digest of a request in the headers of its message.
DIGEST_HEADER = "pointsman_digest"


def digest(payload: Mapping[str, Any]) -> str:
    """Compute what tells one request from another under the same id: it does not depend on when it was submitted."""
    texts, user_of = payload.get("texts") or (), payload.get("user_of")
    users = [
        sorted((name, sorted(value.items()) if name == "custom" else value) for name, value in user.items())
        for user in payload.get("users") or ()
    ]
    content = (
        texts,
        users,
        [0 if users else ANONYMOUS] * len(texts) if user_of is None else user_of,
        payload.get("batch"),
        bool(payload.get("include_texts")),
        *([payload["ranking"]] if payload.get("ranking", 1) != 1 else ()),
    )
    return hashlib.blake2b(pydantic_core.to_json(content), digest_size=16).hexdigest()


class FlagDecision(Wire):
    """The decision of a feature flag, and enough to explain it later."""

    key: str
    value: bool | int | float | str
    variation_id: str | None = None
    reason: str
    """`targeting_rule`, `percentage`, `default` (no rule matched), `no_config` or `error`."""
    etag: str | None = None
    """The version of the flag configuration."""


class Route(Wire):
    """The jobs of a message with the same tier, model version and flag decision."""

    tier: str
    model_version: int
    flag: FlagDecision
    intents: list[str]
    """The labels to which `ClassifyReply.ranking` refers by place."""
    inference_ms: float
    """The time for all texts of this tier in the message."""


class ClassifyReply(Wire):
    """The result of `pointsman.classify`, in columns as long as the request's texts."""

    message_id: str
    intent: list[str]
    confidence: list[float]
    """The calibrated probability of the first intent of the ranking, in [0, 1]."""
    ranking: list[list[int]]
    """The most likely intents, best first, as places in the route's `intents`."""
    ranking_confidence: list[list[float]]
    route_of: list[int]
    """For each text its place in `routes`."""
    routes: list[Route]
    wait_ms: float | None = None
    """From `submitted_at` to dequeue; None if the producer sent no time."""
    texts: list[str] | None = None


# Not frozen: that takes three times as long to make, and one is made for every text.
@dataclass(slots=True, kw_only=True)
class RankedIntent:
    """One line of a ranking: an intent and its calibrated probability."""

    intent: str
    confidence: float


@dataclass(slots=True, kw_only=True)
class Outcome:
    """The answer to one job."""

    job_id: str
    text: str | None
    intent: str
    confidence: float
    ranking: tuple[RankedIntent, ...]
    tier: str
    model_version: int
    flag: FlagDecision
    wait_ms: float | None
    inference_ms: float


class StoredReply(BaseModel):
    """A finished message as it is stored: Celery's own result format."""

    status: str
    result: ClassifyReply


def outcome(reply: ClassifyReply, place: int, text: str | None) -> Outcome:
    """Return the outcome of one job.

    Args:
        reply: The reply that the worker stored.
        place: The job's place in its message.
        text: The text that was sent, or None to leave it out.
    """
    route = reply.routes[reply.route_of[place]]
    return Outcome(
        job_id=names.job_id(reply.message_id, place),
        text=text,
        intent=reply.intent[place],
        confidence=reply.confidence[place],
        ranking=tuple(
            RankedIntent(intent=route.intents[label], confidence=share)
            for label, share in zip(reply.ranking[place], reply.ranking_confidence[place], strict=True)
        ),
        tier=route.tier,
        model_version=route.model_version,
        flag=route.flag,
        wait_ms=reply.wait_ms,
        inference_ms=route.inference_ms,
    )


class ModelsQuery(Wire):
    """One message of `pointsman.models`: a question to the registry, or a change of it."""

    action: Literal[
        "tiers", "list", "show", "history", "diff", "verify", "promote", "nominate", "rollback", "prune"
    ]
    tier: Identifier | None = None
    """If it is left out, `tiers` and `list` cover every declared tier."""
    version: int | None = Field(default=None, ge=1)
    """For `show`, `diff` and `verify`, by default the champion. `promote` and `nominate` need it."""
    other: int | None = Field(default=None, ge=1)
    """For `diff`: the version to compare with, by default the champion."""
    requested_by: Identifier = "anonymous"
    why: str = Field(default="", max_length=500)
    """The reason for a change, for the history."""
    force: bool = False
    """Promote a version against the gate's or the shadow's objections; needs `why`."""
    keep: int | None = Field(default=None, ge=1)
    """For `prune`: how many of the newest versions to keep."""


class TrainRequest(Wire):
    """One message of `pointsman.train`."""

    tier: Identifier
    requested_by: Identifier = "anonymous"
    promote: bool = True
    """Whether a version that passes the tier's checks becomes the champion."""


class TrainProgress(Wire):
    """The progress of a running training: Celery's `PROGRESS` state."""

    tier: str
    stage: str
    fraction: float


class TrainReply(Wire):
    """The result of `pointsman.train`."""

    tier: str
    version: int
    promoted: bool
    reasons: list[str]
    """Why it was not promoted; empty if it was, or if promotion was not requested."""
    candidate: bool = False
    """Whether it passed the gate and waits for the shadow's verdict."""
    metrics: dict[str, float]
    pipeline: str
    threshold: float
    duration_s: float
    warnings: list[str]


_WORDS: Final = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "string_type": "is not a text",
    "string_unicode": "is not valid Unicode (half of a surrogate pair)",
    "int_type": "is not a whole number",
    "int_parsing": "is not a whole number",
    "bool_type": "is not true or false",
    "list_type": "is not a list",
    "dict_type": "is not an object",
    "model_type": "is not an object",
    "finite_number": "is NaN or infinite",
}


def describe(error: ValidationError) -> str:
    """Describe an error by place and kind, without quoting the input, which may be private."""
    parts = [
        f"{'.'.join(map(str, detail['loc'])) or 'message'}: {_words(detail)}"
        for detail in error.errors(include_url=False, include_input=False)[:5]
    ]
    more = error.error_count() - len(parts)
    return "; ".join(parts) + (f"; and {more} more" if more > 0 else "")


def _words(detail: Any) -> str:  # noqa: ANN401  pydantic's ErrorDetails
    kind, limits = detail["type"], detail.get("ctx", {})
    if kind == "string_too_short":
        return "is empty"
    if kind == "string_too_long":
        return f"has more than {limits['max_length']} characters"
    return _WORDS.get(kind) or str(detail["msg"]).removeprefix("Value error, ")
