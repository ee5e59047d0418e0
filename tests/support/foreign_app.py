"""An application of another team in the same Redis database: plain Celery, with its default names."""

import os

from celery import Celery

URL = os.environ.get("FOREIGN_REDIS_URL", "")


def make_app(url: str) -> Celery:
    """Make it, for its worker and for its clients."""
    foreign = Celery("foreign", broker=url, backend=url, set_as_current=False)
    foreign.conf.broker_connection_retry_on_startup = True
    return foreign


app = make_app(URL)


@app.task(name="foreign.count")
def count(reply: dict[str, list[str]]) -> int:
    """Count the texts of a reply."""
    return len(reply["intent"])
