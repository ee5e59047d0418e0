"""Texts a second: through our queue, through a plain Celery task a text, and in scikit-learn with no queue."""

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import corpus, deployment, figures, reference
from benchmarks.reference import MESSAGE
from pointsman_models.registry.versions import Registry
from pointsman_models.training import linear_models
from pointsman_producer.client.client import Client
from pointsman_producer.client.users import checked_request
from pointsman_shared.settings import Settings
from pointsman_shared.wire import jobs

BULK_TEXTS = 60_000
PLAIN_TEXTS = 1_500
TIMEOUT_S = 120
# Two plans in turn: half of the users go to pro, as the shipped flags say.
USERS = [jobs.User(id=f"u-{number}", custom={"plan": ["free", "pro"][number % 2]}) for number in range(60)]
TURNS_OF_A_USER = 8


def run(trained: Path) -> None:
    """Print the table."""
    texts = corpus.texts(BULK_TEXTS)
    registry = Registry(str(trained))
    model, _ = registry.load("pro", registry.champion("pro") or 1)
    pipeline = linear_models.to_pipeline(model)
    classifier = registry.load_classifier("pro", registry.champion("pro") or 1)
    rates: dict[str, float] = {}
    with (
        reference.predicting(pipeline) as in_two_processes,
        deployment.running(workers=1, trained=trained) as one,
        deployment.running(workers=2, trained=trained) as two,
        Client(settings=one.settings) as to_one,
        Client(settings=two.settings) as to_two,
        deployment.plain_worker(two.settings, workers=2),
    ):
        plain = _plain(two.settings, texts[:PLAIN_TEXTS])
        rates = figures.side_by_side(
            {
                "scikit-learn in one process, no queue": lambda: sum(
                    len(pipeline.predict(chunk)) for chunk in reference.chunks(texts)
                ),
                reference.NAME: lambda: in_two_processes(texts),
                "our scorer in one process, no queue": lambda: sum(
                    len(classifier.classify(chunk).intent) for chunk in reference.chunks(texts)
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
        reference=reference.NAME,
    )


def through_the_queue(
    client: Client, texts: Sequence[str], users: Sequence[jobs.User] | None = None, size: int = MESSAGE
) -> Callable[[], int]:
    """Give a contestant that submits texts in bulk and reads all outcomes; `users` has one entry a text."""
    of = users or [USERS[place // TURNS_OF_A_USER % len(USERS)] for place in range(len(texts))]

    def run() -> int:
        handles = [
            client.submit_message(checked_request(texts[start : start + size], of[start : start + size]))
            for start in range(0, len(texts), size)
        ]
        return sum(len(handle.result(TIMEOUT_S).intent) for handle in handles)

    return run


def _plain(settings: Settings, texts: list[str]) -> Callable[[], int]:
    send = deployment.plain_sender(settings)

    def run() -> int:
        results = [send(text) for text in texts]
        return len([result.get(timeout=TIMEOUT_S) for result in results])

    return run
