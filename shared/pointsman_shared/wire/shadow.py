"""What shadowing puts on the wire: questions about a comparison, labels, files to compare.

The texts to shadow are not among it: they wait where they were served, and `pointsman.shadow` only calls for the work.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pointsman_shared import errors
from pointsman_shared.wire import jobs

Share = Annotated[float, Field(gt=0, lt=1)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def parse(cls, payload: object) -> Self:
        """Validate what came off the wire.

        Raises:
            InvalidMessageError: It does not follow the schema. The text of the error never quotes the input.
        """
        try:
            return cls.model_validate(payload)
        except ValidationError as error:
            raise errors.InvalidMessageError(jobs.describe(error)) from None


class Label(_Message):
    """What the right intent of a job is."""

    job_id: jobs.Identifier
    intent: jobs.Identifier
    by: jobs.Identifier = "anonymous"


class Side(_Message):
    """What one model answered to some texts."""

    intent: list[str]
    confidence: list[Annotated[float, Field(ge=0, le=1)]] | None = None
    inference_ms: float | None = None


class Answers(_Message):
    """Some texts of a file, and what both models answered."""

    served: Side
    candidate: Side
    labels: list[str | None] | None = None
    texts: list[str | None] | None = None


class Query(_Message):
    """One message of `pointsman.shadow_report`."""

    action: Literal["pairs", "report", "label", "labels", "label_queue", "answers"]
    served: str | None = None
    candidate: str | None = None
    alpha: Share = 0.05
    margin: Share = 0.01
    limit: int = Field(default=100, ge=1, le=20_000)
    labels: list[Label] = Field(default_factory=list, max_length=20_000)
    parts: list[Answers] = Field(default_factory=list)
    """For `answers`: a report on these alone; nothing is stored."""


class CompareRequest(_Message):
    """One message of `pointsman.shadow_compare`: texts for two versions, as `pro@7`."""

    served: str
    candidate: str
    texts: list[jobs.Text] = Field(min_length=1, max_length=jobs.MAX_TEXTS)


def parse_version(name: str) -> tuple[str, int]:
    """Split `pro@7`.

    Raises:
        InvalidMessageError: The text names no version.
    """
    tier, at, version = name.rpartition("@")
    if not at or not tier or not version.isdecimal():
        msg = f"{name!r} names no version: expected TIER@NUMBER"
        raise errors.InvalidMessageError(msg)
    return tier, int(version)


Row = dict[str, Any]
