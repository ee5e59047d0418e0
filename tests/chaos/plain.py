"""What a Celery tutorial would build, under the same faults: default settings throughout."""

import os
import signal
import time

from celery import Celery
from redis import Redis

from tests.chaos import poison

URL = os.environ.get("POINTSMAN_REDIS_URL", "")
PAUSE_S = float(os.environ.get("CHAOS_PAUSE_S", "0"))
QUEUE = "bulk"
EFFECTS_KEY = "plain:effects"
POISON_STARTS_KEY = "plain:poison"


def make_app(url: str) -> Celery:
    """Make an application with default settings."""
    app = Celery("plain", broker=url, backend=url, set_as_current=False)
    app.conf.task_default_queue = QUEUE
    app.conf.broker_connection_retry_on_startup = True
    return app


app = make_app(URL)
if os.environ.get("CHAOS_LATE"):
    app.conf.task_acks_late = True
    app.conf.task_reject_on_worker_lost = True
    app.conf.broker_transport_options = {"visibility_timeout": 10}


@app.task(name="plain.classify")
def classify(number: int) -> int:
    """Do one job and have its effect."""
    with Redis.from_url(URL) as redis:
        if number == poison.NUMBER:
            redis.incr(POISON_STARTS_KEY)
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(PAUSE_S)
        redis.rpush(EFFECTS_KEY, number)
    return number
