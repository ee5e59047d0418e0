"""What one message with one text takes when nothing else is going on: ours against a plain Celery task, in turn.

One client waits for each answer. Nothing is shadowed. Processor time is that of the client, the worker's parent, its
processes and Redis; the plain worker acknowledges late, as ours does, and sends no events.
"""

import contextlib
import itertools
import multiprocessing
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import corpus, deployment, figures
from benchmarks.meter import Roles
from benchmarks.reference import MESSAGE
from benchmarks.throughput import USERS
from pointsman_producer.client.client import Client
from pointsman_producer.client.users import checked_request
from pointsman_shared import names
from pointsman_shared.settings import Settings
from pointsman_shared.store.connection import Store

JOBS = 100
ROUNDS = 10
BEHIND_JOBS = 600
MESSAGES_AHEAD = 40
TIMEOUT_S = 30
PLAIN, OURS = "plain Celery task", "Pointsman"


def run(trained: Path) -> None:
    """Print the table."""
    texts = corpus.texts(JOBS * (ROUNDS + 1))
    taken: dict[str, list[float]] = {PLAIN: [], OURS: []}
    spent: dict[str, dict[str, list[float]]] = {PLAIN: {}, OURS: {}}
    with (
        tempfile.TemporaryDirectory() as folder,
        deployment.running(
            workers=2, trained=trained, flags_file=deployment.flags(Path(folder), deployment.NOT_SHADOWED)
        ) as ours,
        Client(settings=ours.settings) as client,
        deployment.plain_worker(ours.settings, workers=2) as plain,
    ):
        send = deployment.plain_sender(ours.settings)
        ask: dict[str, Callable[[str], object]] = {
            PLAIN: lambda text: send(text).get(TIMEOUT_S),
            OURS: lambda text: client.classify(text, user=USERS[1], timeout_s=TIMEOUT_S),
        }
        redis, serving = (ours.pids()[name] for name in ("redis", "serving"))
        # The first round warms everything up.
        for question in ask.values():
            for text in texts[:JOBS]:
                question(text)
        meters = {name: Roles(redis, pid) for name, pid in ((PLAIN, plain.pid), (OURS, serving))}
        for number in range(1, ROUNDS + 1):
            for name in list(ask)[:: 1 if number % 2 else -1]:
                part = texts[number * JOBS : (number + 1) * JOBS]
                _, of_roles = meters[name].timed(
                    lambda: taken[name].extend(_timed_ms(ask[name], text) for text in part)  # noqa: B023  called at once
                )
                for role, cpu_s in of_roles.items():
                    spent[name].setdefault(role, []).append(cpu_s / JOBS * 1000)
        with _bulk_work(ours.settings):
            behind = [_timed_ms(ask[OURS], text) for text in texts[:BEHIND_JOBS]]
    _show(taken, spent)
    print(f"  {OURS + ', while bulk work waits':<36}{_percentiles(behind)}")


@contextlib.contextmanager
def _bulk_work(settings: Settings) -> Iterator[None]:
    """Have another process keep the bulk queue full."""
    feeder = multiprocessing.get_context("fork").Process(target=_feed, args=(settings,), daemon=True)
    feeder.start()
    try:
        with Store.connect(settings) as store:
            while not store.llen(store.keys.queue(names.BULK_QUEUE)):
                time.sleep(0.01)
        yield
    finally:
        feeder.terminate()
        feeder.join()


def _feed(settings: Settings) -> None:
    texts = corpus.texts(20_000)
    with Client(settings=settings) as client:
        waiting = deque[Any]()
        for start in itertools.cycle(range(0, len(texts), MESSAGE)):
            part = texts[start : start + MESSAGE]
            waiting.append(client.submit_message(checked_request(part, [USERS[1]] * len(part))))
            while len(waiting) > MESSAGES_AHEAD:
                waiting.popleft().result(TIMEOUT_S)


def _timed_ms(ask: Callable[[str], object], text: str) -> float:
    started = time.perf_counter()
    ask(text)
    return (time.perf_counter() - started) * 1000


def _show(taken: dict[str, list[float]], spent: dict[str, dict[str, list[float]]]) -> None:
    print(f"\nSingle job, idle system ({JOBS * ROUNDS} jobs each, in turns of {JOBS})")
    for name, values in taken.items():
        print(f"  {name:<20}{_percentiles(values)}   {len(values) / sum(values) * 1000:6.0f} jobs/s")
    print("  Processor time of a message in ms, median of the turns")
    for name, roles in spent.items():
        medians = {role: statistics.median(values) for role, values in roles.items()}
        shown = "   ".join(f"{role} {value:5.2f}" for role, value in medians.items())
        print(f"  {name:<20}{shown}   together {sum(medians.values()):5.2f}")


def _percentiles(values: Sequence[float]) -> str:
    return "   ".join(f"p{rank} {figures.percentile(values, rank):6.2f} ms" for rank in (50, 95, 99))
