"""A version's certificate: what the gate found and on what evidence, so that anybody can recompute it.

What the model was trained on and how is on the card beside it; the certificate does not repeat that.
"""

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from pointsman_models.data.dataset import Part

# Figures that depend on the machine and the moment: only their budget counts.
MEASURED = frozenset({"latency_ms"})
# Fields that a recomputation does not have to reproduce.
CIRCUMSTANCES = {"issued_at", "approved_by", "requested_by", "reasons", "shadow", "notes"}


class Certificate(BaseModel):
    """What the gate found when it judged a version."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    tier: str
    version: int
    issued_at: str
    """ISO 8601, UTC."""
    approved_by: str | None
    """Who or what approved the version; None if the gate stopped it."""
    requested_by: str
    reasons: tuple[str, ...]
    """Why the gate stopped it."""
    gate: dict[str, Any]
    """The gate's options."""
    champion: int | None
    """The version it was compared with."""
    figures: dict[str, Any]
    """Everything the gate measured."""
    test_sha256: str
    """The digest of the test rows."""
    libraries: dict[str, str]
    model_sha256: str
    shadow: dict[str, Any] | None = None
    """The shadow's verdict at the time of the promotion, if the tier requires one."""
    notes: tuple[str, ...] = ()
    """What the gate could not check, and why."""


def digest_rows(part: Part) -> str:
    """Return a digest of rows that does not depend on their order."""
    lines = sorted(json.dumps(pair) for pair in zip(part.texts, part.labels, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def differences(issued: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """List the facts of a certificate that a recomputation does not confirm; see `facts`."""
    return [
        f"{name}: {json.dumps(issued.get(name))} in the certificate, now {json.dumps(found.get(name))}"
        for name in sorted({*issued, *found})
        if issued.get(name) != found.get(name)
    ]


def facts(certificate: Certificate) -> dict[str, Any]:
    """Return what a recomputation has to reproduce, one entry per fact."""
    return _flat("", certificate.model_dump(mode="json", exclude=CIRCUMSTANCES))


def _flat(name: str, value: Any) -> dict[str, Any]:  # noqa: ANN401  any JSON value
    if not isinstance(value, dict):
        return {name: value}
    parts = [
        _flat(f"{name}.{key}" if name else key, item)
        for key, item in value.items()
        if key not in MEASURED or name == "gate"
    ]
    return {key: item for part in parts for key, item in part.items()}
