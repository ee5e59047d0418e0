"""Classifying the texts of a file with two versions, for an offline comparison."""

import time
from typing import Any

from pointsman_models.inference.classifier import Classifier
from pointsman_shared import errors
from pointsman_shared.wire import shadow as wire
from pointsman_workers.shadow.candidates import Candidates


def classify(candidates: Candidates, request: wire.CompareRequest) -> dict[str, Any]:
    """Return what both versions answer to the texts, as a `wire.Answers`."""
    sides = {}
    for side, name in (("served", request.served), ("candidate", request.candidate)):
        classifier = _classifier(candidates, name)
        started = time.perf_counter()
        answers = classifier.classify(request.texts, ranked=1)
        sides[side] = {
            "intent": answers.intent,
            "confidence": answers.confidence,
            "inference_ms": (time.perf_counter() - started) * 1000,
        }
    return sides


def _classifier(candidates: Candidates, name: str) -> Classifier:
    try:
        return candidates.classifier(*wire.parse_version(name))
    except errors.RegistryError as error:
        msg = f"{name} cannot be loaded: {error}"
        raise errors.RegistryError(msg) from error
