"""The serving application with texts that take as long as they like."""

import time
from pathlib import Path
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from pointsman_shared.wire import jobs
from pointsman_workers import app as serving_app
from pointsman_workers.serving import classify as serving

SLEEPS, SLEEPS_ON = "this text takes for ever", "this text heeds no signal"
# Followed by the name of a file, which is there from the first attempt on.
SLEEPS_ONCE = "this text takes long once: "

app = serving_app.app
_classify = serving.classify


def classify(request: jobs.ClassifyRequest, message_id: str, **parts: Any) -> dict[str, Any]:
    """Classify as the real one does, but for some texts."""
    for text in request.texts:
        if text.startswith(SLEEPS_ONCE) and not (marker := Path(text.removeprefix(SLEEPS_ONCE))).exists():
            marker.touch()
            time.sleep(600)
    if SLEEPS in request.texts:
        time.sleep(600)
    while SLEEPS_ON in request.texts:
        try:
            time.sleep(600)
        except SoftTimeLimitExceeded:
            continue
    return _classify(request, message_id, **parts)


serving.classify = classify
