"""A version's certificate: on what evidence the gate let it through or stopped it, so that anybody can work it out again."""

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from pointsman_models.data.dataset import FileFacts, Part

# Figures that depend on the machine and the moment; they are compared with their budget only.
MEASURED = frozenset({"latency_ms"})


class Certificate(BaseModel):
    """What was found when a version was judged."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    tier: str
    version: int
    issued_at: str
    """ISO 8601, UTC."""
    approved_by: str | None
    """Who or what let it through; None where it was stopped."""
    requested_by: str
    reasons: tuple[str, ...]
    """Why it was stopped."""
    gate: dict[str, Any]
    """The gate's options."""
    champion: int | None
    """The version it was compared with."""
    reference: int | None = None
    """The version of the reference tier."""
    figures: dict[str, Any]
    """Everything the gate measured."""
    data: tuple[FileFacts, ...]
    test_sha256: str
    """The digest of the test rows it was judged by."""
    seeds: dict[str, int]
    configuration: dict[str, Any]
    """How the model was made."""
    libraries: dict[str, str]
    model_sha256: str
    shadow: dict[str, Any] | None = None
    """The shadow's verdict, where one was required, as it was when the version was promoted."""
    notes: tuple[str, ...] = ()
    """What could not be looked at, and why."""


def digest_rows(part: Part) -> str:
    """Give a digest of rows that does not depend on their order."""
    lines = sorted(json.dumps(pair) for pair in zip(part.texts, part.labels, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def differences(issued: Certificate, found: Certificate) -> list[str]:
    """Say where a certificate differs from one that was worked out again; nothing, if it holds."""
    then, now = _comparable(issued), _comparable(found)
    return [
        f"{name}: {json.dumps(then.get(name))} in the certificate, now {json.dumps(now.get(name))}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]


def _comparable(certificate: Certificate) -> dict[str, Any]:
    whole = certificate.model_dump(
        mode="json", exclude={"issued_at", "approved_by", "requested_by", "reasons", "shadow", "notes"}
    )
    facts = {"data": [f"{file['name']} {file['sha256']}" for file in whole.pop("data")]}
    for name, value in whole.items():
        facts |= _flat(name, value)
    return facts


def _flat(name: str, value: Any) -> dict[str, Any]:  # noqa: ANN401  any JSON value
    if not isinstance(value, dict):
        return {name: value}
    parts = [
        _flat(f"{name}.{key}", item) for key, item in value.items() if key not in MEASURED or name == "gate"
    ]
    return {key: item for part in parts for key, item in part.items()}
