"""Classifying one message: route its texts, classify them per tier, put the answers back in order.

Work per text in here is the price of the whole system: columns in, columns out.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from pointsman_models.inference.classifier import Classifier, Predictions
from pointsman_shared.wire import jobs
from pointsman_workers.serving.routing import Router

COLUMNS = ("intent", "confidence", "ranking", "ranking_confidence")


class Models(Protocol):
    """The classifiers of the process."""

    def classifier(self, tier: str) -> Classifier:
        """Return the version of a tier that serves now."""
        ...


def classify(
    request: jobs.ClassifyRequest, message_id: str, *, router: Router, models: Models
) -> dict[str, Any]:
    """Classify a message."""
    wait_ms = _since(request.submitted_at)
    routes = router.route(request)
    tiers = list(routes.tiers)
    used = {tier: models.classifier(tier) for tier in dict.fromkeys(tiers)}
    columns: dict[str, list[Any]] = {}
    inference_ms: dict[str, float] = {}
    for tier, classifier in used.items():
        started = time.perf_counter()
        _classify_tier(
            request.texts,
            [tiers[place] == tier for place in range(len(tiers))],
            routes.of,
            partial(classifier.classify, ranked=request.ranking),
            columns,
        )
        inference_ms[tier] = round((time.perf_counter() - started) * 1000, 3)
    return {
        "message_id": message_id,
        **columns,
        "route_of": list(routes.of),
        "routes": [
            {
                "tier": tier,
                "model_version": used[tier].version,
                "flag": decision.model_dump(),
                "intents": list(used[tier].intents),
                "inference_ms": inference_ms[tier],
            }
            for tier, decision in zip(tiers, routes.decisions, strict=True)
        ],
        "wait_ms": wait_ms,
        "texts": request.texts if request.include_texts else None,
    }


def _classify_tier(
    texts: Sequence[str],
    wanted: Sequence[bool],
    route_of: Sequence[int],
    classified: Callable[[Sequence[str]], Predictions],
    columns: dict[str, list[Any]],
) -> None:
    """Classify the texts of one tier, and write the answers to their places."""
    if all(wanted):
        columns.update(_as_columns(classified(texts)))
        return
    places = [place for place, route in enumerate(route_of) if wanted[route]]
    predictions = _as_columns(classified([texts[place] for place in places]))
    for name in COLUMNS:
        column = columns.setdefault(name, [None] * len(texts))
        for place, answer in zip(places, predictions[name], strict=True):
            column[place] = answer


def _as_columns(predictions: Predictions) -> dict[str, list[Any]]:
    return {name: getattr(predictions, name) for name in COLUMNS}


def counters(reply: dict[str, Any]) -> dict[str, int]:
    """Count an answered message for its batch: texts, and texts per tier and intent."""
    tiers = [route["tier"] for route in reply["routes"]]
    found = Counter(zip(map(tiers.__getitem__, reply["route_of"]), reply["intent"], strict=True))
    per_tier = {f"{tier}:{intent}": count for (tier, intent), count in found.items()}
    return {"done": len(reply["intent"]), **per_tier}


def _since(submitted_at: float | None) -> float | None:
    """Return the milliseconds since a time that another machine's clock gave; never negative."""
    return None if submitted_at is None else round(max(0.0, time.time() - submitted_at) * 1000, 3)
