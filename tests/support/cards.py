"""The card of a version that was never trained here."""

from typing import Any

from pointsman_models.inference.linear_model import LinearModel
from pointsman_models.registry.card import Card, library_versions
from pointsman_shared import names


def card_of(model: LinearModel, **changes: Any) -> Card:
    """Make a model's card; `changes` are its other fields."""
    values: dict[str, Any] = {
        "tier": "base",
        "created_at": "2026-01-01T00:00:00+00:00",
        "requested_by": "tests",
        "duration_s": 0.0,
        "pipeline": "tiny",
        "parameters": {},
        "intents": tuple(label for label in model.classes if label != names.OUT_OF_SCOPE),
        "classes": model.classes,
        "temperature": 3.0,
        "threshold": 0.3,
        "metrics": {},
        "per_intent": {},
        "data": (),
        "examples": {},
        "seed": 0,
        "libraries": library_versions(),
    }
    return Card(**{**values, **changes})
