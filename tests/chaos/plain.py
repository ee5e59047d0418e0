"""What a Celery tutorial would build, on the same queues and under the same faults: default settings throughout."""

import os
import time

from celery import Celery
from redis import Redis

URL = os.environ.get("POINTSMAN_REDIS_URL", "")
PAUSE_S = float(os.environ.get("CHAOS_PAUSE_S", "0"))
EFFECTS_KEY = "plain:effects"

app = Celery("plain", broker=URL, backend=URL)
app.conf.task_default_queue = "bulk"
app.conf.broker_connection_retry_on_startup = True
if os.environ.get("CHAOS_LATE"):
    app.conf.task_acks_late = True
    app.conf.task_reject_on_worker_lost = True
    app.conf.broker_transport_options = {"visibility_timeout": 10}


@app.task(name="plain.classify")
def classify(number: int) -> int:
    """Do one job and have its effect."""
    time.sleep(PAUSE_S)
    with Redis.from_url(URL) as redis:
        redis.rpush(EFFECTS_KEY, number)
    return number
