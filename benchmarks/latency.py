"""How long a single job takes when nothing else is going on: ours against a plain Celery task, in turn."""

import time
from pathlib import Path

from celery import Celery

from benchmarks import corpus, deployment, figures
from benchmarks.throughput import USERS
from pointsman_producer.client.client import Client

JOBS = 400
WARM_UP = 50
TIMEOUT_S = 30


def run(trained: Path) -> None:
    """Print the table."""
    texts = corpus.texts(JOBS + WARM_UP)
    with (
        deployment.running(workers=2, trained=trained) as ours,
        Client(settings=ours.settings) as client,
        deployment.plain_worker(ours.settings, workers=2),
    ):
        url = ours.settings.redis_url.get_secret_value()
        app = Celery("plain", broker=url, backend=url)
        contestants = {
            "plain Celery task": lambda text: app.send_task("plain.classify", args=[text], queue="plain").get(
                TIMEOUT_S
            ),
            "Pointsman": lambda text: client.classify(text, user=USERS[1], timeout_s=TIMEOUT_S),
        }
        taken: dict[str, list[float]] = {name: [] for name in contestants}
        for place, text in enumerate(texts):
            for name, ask in contestants.items():
                started = time.perf_counter()
                ask(text)  # type: ignore[no-untyped-call]  # one of them is Celery's
                if place >= WARM_UP:
                    taken[name].append((time.perf_counter() - started) * 1000)
    print(f"\nSingle job, idle system ({JOBS} jobs each, in turn)")
    for name, values in taken.items():
        print(
            f"  {name:<40} p50 {figures.percentile(values, 50):6.2f} ms   p95 {figures.percentile(values, 95):6.2f} ms"
        )
