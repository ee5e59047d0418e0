"""The serving application with faults built in: slow work, so that kills hit it, and texts that kill their worker."""

import os
import signal
import time
from typing import Any

from pointsman_shared.wire import jobs
from pointsman_workers.serving import classify as serving
from tests.chaos import poison
from tests.support import eager_app

PAUSE_S = float(os.environ.get("CHAOS_PAUSE_S", "0"))
STARTS_FILE = os.environ.get("CHAOS_STARTS_FILE")

app = eager_app.app
_classify = serving.classify


def classify(request: jobs.ClassifyRequest, message_id: str, **parts: Any) -> dict[str, Any]:
    """Classify as the real one does, with faults."""
    if STARTS_FILE:
        descriptor = os.open(STARTS_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{message_id}\n".encode())
        os.close(descriptor)
    time.sleep(PAUSE_S)
    if poison.TEXT in request.texts:
        os.kill(os.getpid(), signal.SIGKILL)
    return _classify(request, message_id, **parts)


serving.classify = classify
