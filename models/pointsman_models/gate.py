"""The gate: what a version must show before it becomes the champion."""

from collections.abc import Sequence

from pointsman_models.classifier import Classifier
from pointsman_shared import utterances


def check(classifier: Classifier, golden: Sequence[utterances.Utterance]) -> list[str]:
    """Say why a version must not serve; an empty list lets it through.

    Args:
        classifier: The version in its serving form.
        golden: Texts and the answers that must come, thresholds included.
    """
    found = classifier.classify([row.text for row in golden])
    return [
        f"golden utterance {row.text!r} ({row.place}): {intent} ({confidence:.2f}) in the place of {row.intent}"
        for row, intent, confidence in zip(golden, found.intent, found.confidence, strict=True)
        if intent != row.intent
    ]
