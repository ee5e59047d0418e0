"""The serving application with candidates that do not do their work: which do what, a file says at any time."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from pointsman_models.inference.classifier import Classifier, Predictions
from pointsman_shared import names
from pointsman_workers.shadow import runner
from pointsman_workers.shadow.candidates import Candidates

TROUBLES = Path(os.environ.get("TROUBLES_FILE", "/nonexistent"))

# Before the tasks are made, which take it.
runner.TIME_LIMIT_S = 1  # type: ignore[misc]  # a test may
from pointsman_workers import app as serving_app  # noqa: E402  see above

app = serving_app.app
_classifier = Candidates.classifier


class Troubled:
    """A classifier, and how it fails."""

    def __init__(self, classifier: Classifier, trouble: str) -> None:
        self._classifier = classifier
        self._trouble = trouble

    def classify(self, texts: Sequence[str], *, ranked: int) -> Predictions:
        """Fail, or answer late."""
        if self._trouble == "raises":
            msg = "it has a bug"
            raise ZeroDivisionError(msg)
        if self._trouble == "slow":
            time.sleep(1.5)
        if self._trouble == "dawdles":
            time.sleep(0.05)
        if self._trouble == "hangs":
            time.sleep(3600)
        while self._trouble == "ignores its time limit":
            with contextlib.suppress(Exception):
                time.sleep(3600)
        if self._trouble == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        return self._classifier.classify(texts, ranked=ranked)


def classifier(self: Candidates, tier: str, version: int) -> Classifier | Troubled:
    """Give a version as the real one does, with the trouble it is in."""
    found = _classifier(self, tier, version)
    troubles = json.loads(TROUBLES.read_text()) if TROUBLES.exists() else {}
    trouble = troubles.get(names.version_name(tier, version))
    return Troubled(found, trouble) if trouble else found


Candidates.classifier = classifier  # type: ignore[method-assign,assignment]
