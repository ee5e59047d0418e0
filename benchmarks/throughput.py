"""Texts a second: through our queue, through a plain Celery task a text, and in scikit-learn with no queue."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import Celery

from benchmarks import corpus, deployment, figures
from pointsman_models.registry.versions import Registry
from pointsman_models.training import linear_models
from pointsman_producer.client.client import Client
from pointsman_producer.client.users import checked_request
from pointsman_shared.wire import jobs

BULK_TEXTS = 60_000
PLAIN_TEXTS = 1_500
MESSAGE = 500
TIMEOUT_S = 120
REFERENCE = "scikit-learn in two processes, no queue"
# Two plans in turn: half of the users go to pro, as the shipped flags say.
USERS = [jobs.User(id=f"u-{number}", custom={"plan": ["free", "pro"][number % 2]}) for number in range(60)]
TURNS_OF_A_USER = 8

_pipeline: Any = None


def run(trained: Path) -> None:
    """Print the table."""
    texts = corpus.texts(BULK_TEXTS)
    registry = Registry(str(trained))
    global _pipeline  # noqa: PLW0603  the processes of the pool inherit it
    model, _ = registry.load("pro", registry.champion("pro") or 1)
    _pipeline = linear_models.to_pipeline(model)
    classifier = registry.load_classifier("pro", registry.champion("pro") or 1)
    context = multiprocessing.get_context("fork")
    rates: dict[str, float] = {}
    with (
        context.Pool(2) as pool,
        deployment.running(workers=1, trained=trained) as one,
        deployment.running(workers=2, trained=trained) as two,
        Client(settings=one.settings) as to_one,
        Client(settings=two.settings) as to_two,
        deployment.plain_worker(two.settings, workers=2),
    ):
        plain = _plain(two.settings.redis_url.get_secret_value(), texts[:PLAIN_TEXTS])
        rates = figures.side_by_side(
            {
                "scikit-learn in one process, no queue": lambda: sum(map(_predict, _chunks(texts))),
                REFERENCE: lambda: sum(pool.imap_unordered(_predict, _chunks(texts))),
                "our scorer in one process, no queue": lambda: sum(
                    len(classifier.classify(chunk).intent) for chunk in _chunks(texts)
                ),
                "Pointsman, 1 worker process, all outcomes read": through_the_queue(to_one, texts),
                "Pointsman, 2 worker processes, all outcomes read": through_the_queue(to_two, texts),
                "plain Celery, a task a text, 2 worker processes": plain,
            },
            settle=lambda: deployment.settle(to_one, to_two),
        )
    figures.show_rates(
        f"Bulk ({corpus.source().name}, {len(set(texts)):,} distinct of {len(texts):,} texts; median of 5 rounds)",
        rates,
        reference=REFERENCE,
    )


def _chunks(texts: list[str]) -> list[list[str]]:
    return [texts[start : start + MESSAGE] for start in range(0, len(texts), MESSAGE)]


def _predict(texts: list[str]) -> int:
    return len(_pipeline.predict(texts))


def through_the_queue(client: Client, texts: list[str]) -> Callable[[], int]:
    """Give a contestant that submits texts in bulk and reads all outcomes."""
    users = [USERS[place // TURNS_OF_A_USER % len(USERS)] for place in range(len(texts))]

    def run() -> int:
        handles = [
            client.submit_message(
                checked_request(texts[start : start + MESSAGE], users[start : start + MESSAGE])
            )
            for start in range(0, len(texts), MESSAGE)
        ]
        return sum(len(handle.result(TIMEOUT_S).intent) for handle in handles)

    return run


def _plain(redis_url: str, texts: list[str]) -> Callable[[], int]:
    app = Celery("plain", broker=redis_url, backend=redis_url)

    def run() -> int:
        results = [app.send_task("plain.classify", args=[text], queue="plain") for text in texts]
        return len([result.get(timeout=TIMEOUT_S) for result in results])

    return run
