"""The messages of shadowing: questions about a comparison, labels, files to compare.

No message carries the texts to shadow: they wait in Redis, and `pointsman.shadow` only requests the work.
"""

from typing import Annotated, Literal

from pydantic import Field

from pointsman_shared import errors
from pointsman_shared.wire import jobs

Share = Annotated[float, Field(gt=0, lt=1)]


class Label(jobs.Wire):
    """The right intent of a job."""

    job_id: jobs.Identifier
    intent: jobs.Identifier
    by: jobs.Identifier = "anonymous"


class Side(jobs.Wire):
    """The answers of one model to some texts."""

    intent: list[str]
    confidence: list[Annotated[float, Field(ge=0, le=1)]] | None = None
    inference_ms: float | None = None


class Answers(jobs.Wire):
    """Some texts of a file, and the answers of both models."""

    served: Side
    candidate: Side
    labels: list[str | None] | None = None
    texts: list[str | None] | None = None


class Query(jobs.Wire):
    """One message of `pointsman.shadow_report`."""

    action: Literal["pairs", "report", "label", "labels", "label_queue", "answers"]
    served: str | None = None
    candidate: str | None = None
    alpha: Share = 0.05
    margin: Share = 0.01
    limit: int = Field(default=100, ge=1, le=20_000)
    labels: list[Label] = Field(default_factory=list, max_length=20_000)
    parts: list[Answers] = Field(default_factory=list)
    """For `answers`: the texts to report on; nothing is stored."""


class CompareRequest(jobs.Wire):
    """One message of `pointsman.shadow_compare`: texts for two versions, as `pro@7`."""

    served: str
    candidate: str
    texts: list[jobs.Text] = Field(min_length=1, max_length=jobs.MAX_TEXTS)


def parse_version(name: str) -> tuple[str, int]:
    """Split `pro@7`.

    Raises:
        InvalidMessageError: It names no version.
    """
    tier, at, version = name.rpartition("@")
    if not at or not tier or not version.isdecimal():
        msg = f"{name!r} names no version: expected TIER@NUMBER"
        raise errors.InvalidMessageError(msg)
    return tier, int(version)
