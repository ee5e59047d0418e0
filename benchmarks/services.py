"""Many single jobs at once, as a service with many users has them, against a plain Celery task a job."""

import asyncio
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import corpus, deployment, figures
from benchmarks.throughput import USERS
from pointsman_producer.aio import AsyncClient
from pointsman_producer.client.client import Client

THREADS = 64
JOBS = 20_000
PLAIN_JOBS = 1_000
LINGER_MS = 5
ROUNDS = 3
TIMEOUT_S = 60
PLAIN = f"plain Celery, {THREADS} threads"


def run(trained: Path) -> None:
    """Print the table."""
    texts = corpus.texts(JOBS)
    with (
        tempfile.TemporaryDirectory() as folder,
        deployment.running(
            workers=2, trained=trained, flags_file=deployment.flags(Path(folder), deployment.NOT_SHADOWED)
        ) as ours,
        Client(settings=ours.settings, linger_ms=LINGER_MS) as client,
        ThreadPoolExecutor(THREADS) as pool,
        deployment.plain_worker(ours.settings, workers=2),
    ):
        send = deployment.plain_sender(ours.settings)

        def plain(text: str) -> None:
            send(text).get(TIMEOUT_S)

        def single(text: str) -> None:
            client.classify(text, user=USERS[1], timeout_s=TIMEOUT_S)

        async def service() -> int:
            async with AsyncClient(settings=ours.settings, linger_ms=LINGER_MS) as jobs:
                limit = asyncio.Semaphore(10 * THREADS)

                async def one(text: str) -> None:
                    async with limit:
                        await jobs.classify(text, user=USERS[1], timeout_s=TIMEOUT_S)

                await asyncio.gather(*map(one, texts))
            return JOBS

        rates = figures.side_by_side(
            {
                PLAIN: lambda: len(list(pool.map(plain, texts[:PLAIN_JOBS]))),
                f"Pointsman, {THREADS} threads, linger_ms={LINGER_MS}": lambda: len(
                    list(pool.map(single, texts))
                ),
                f"Pointsman, asyncio, {10 * THREADS} at once": lambda: asyncio.run(service()),
            },
            rounds=ROUNDS,
            settle=lambda: time.sleep(1),
        )
    figures.show_rates(f"Single jobs at once ({JOBS:,}; plain {PLAIN_JOBS:,})", rates, reference=PLAIN)
