"""The runs: what is submitted, which faults are done, how it is judged; ours and plain Celery under the same script."""

import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from pointsman_producer.client.client import Client
from tests.chaos import plain
from tests.chaos.stage import INTENTS, OTHER_INTENTS, SHARED, Script, Stage, busy_s, ground, stage
from tests.chaos.verdict import Verdict, Workload

# A trainer that is killed leaves its message to the trainer that runs a minute later.
SETTLE_S = 240.0
# How busy the processes are meant to be while there are faults.
LOAD = 0.8
LONGEST_PAUSE_S = 0.5
NAMESPACES = ("pointsman", "other")


def ours(
    faults: dict[str, int],
    *,
    seed: int,
    texts: int,
    size: int = 50,
    gap_s: float = 1.0,
    pause_s: float | None = None,
    settle_s: float = SETTLE_S,
    workers: int = 2,
    deployments: int = 1,
) -> list[Verdict]:
    """Run ours under faults: most texts in bulk, some single, some coalesced, all shadowed, and trainings meanwhile.

    Several deployments share a Redis database; each has all of the work, and faults of its own beside those of Redis.

    Args:
        faults: How often each is done.
        seed: Decides their order and moments.
        texts: How many.
        size: Of a message of bulk work.
        gap_s: The pause between two faults, on average.
        pause_s: How long a message takes longer than it would; without it, so long that work lasts as the faults do.
        settle_s: How long to wait for what is not done when all was submitted and the faults are over.
        workers: How many processes serve, of each deployment.
        deployments: How many run side by side.
    """
    few = texts // 100
    if pause_s is None:
        pause_s = _pause_s(faults, gap_s=gap_s, messages=texts // size + few, workers=workers)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pointsman-chaos-")))
        shared = stack.enter_context(ground())
        stages = [
            stack.enter_context(
                stage(
                    folder / name,
                    shared,
                    seed=seed + place,
                    pause_s=pause_s,
                    workers=workers,
                    namespace=name,
                    intents=OTHER_INTENTS if place % 2 else INTENTS,
                )
            )
            for place, name in enumerate(NAMESPACES[:deployments])
        ]
        with ThreadPoolExecutor() as pool:
            runs = [
                pool.submit(
                    _run,
                    set_up,
                    {name: count for name, count in faults.items() if not place or name not in SHARED},
                    texts=texts,
                    size=size,
                    gap_s=gap_s,
                    settle_s=settle_s,
                )
                for place, set_up in enumerate(stages)
            ]
        return [run.result() for run in runs]


def _run(
    set_up: Stage, faults: dict[str, int], *, texts: int, size: int, gap_s: float, settle_s: float
) -> Verdict:
    few = texts // 100
    with Client(settings=set_up.settings, linger_ms=20, max_batch=100) as client:
        started = time.monotonic()
        faulting = Script(set_up, faults, gap_s=gap_s)
        workload = Workload(client, set_up.registry, faulting.keep_pace)
        faulting.start()
        with ThreadPoolExecutor() as pool:
            parts = (
                pool.submit(workload.bulk, texts - 6 * few, size),
                pool.submit(workload.single, few),
                pool.submit(workload.coalesced, 5 * few),
            )
        for part in parts:
            part.result()
        faulting.join()
        verdict = workload.judge(set_up, settle_s)
        verdict.faults_missed = sum(faults.values()) - sum(set_up.done.values())
        verdict.notes += faulting.troubles
        verdict.duration_s = time.monotonic() - started
        if not verdict.is_clean:
            log = Path(tempfile.gettempdir()) / f"pointsman-chaos-{set_up.settings.namespace}.log"
            log.write_text("\n".join([verdict.line(), *verdict.notes, *set_up.log]))
        return verdict


def plain_celery(
    contestant: str,
    faults: dict[str, int],
    *,
    seed: int,
    messages: int,
    gap_s: float = 1.0,
    pause_s: float | None = None,
    settle_s: float = 20.0,
    workers: int = 2,
) -> dict[str, int]:
    """Run a plain Celery worker under the same faults: how many messages were lost, how many ran twice."""
    if pause_s is None:
        pause_s = _pause_s(faults, gap_s=gap_s, messages=messages, workers=workers)
    with (
        tempfile.TemporaryDirectory(prefix="pointsman-chaos-") as folder,
        ground() as shared,
        stage(
            Path(folder), shared, contestant=contestant, seed=seed, pause_s=pause_s, workers=workers
        ) as set_up,
    ):
        faulting = Script(set_up, faults, gap_s=gap_s)
        faulting.start()
        sent = _send_plain(set_up, messages, faulting)
        faulting.join()
        effects = _effects(set_up, sent, settle_s)
        found = Counter(effects)
        return {
            "messages": len(sent),
            "lost": len(sent - set(found)),
            "twice": sum(found.values()) - len(found),
            **_poison_starts(set_up),
        }


def _pause_s(faults: Mapping[str, int], *, gap_s: float, messages: int, workers: int) -> float:
    return min(LONGEST_PAUSE_S, LOAD * workers * busy_s(faults, gap_s=gap_s) / messages)


def _send_plain(set_up: Stage, messages: int, faulting: Script) -> set[int]:
    app = plain.make_app(set_up.redis.url)
    sent = set()
    for number in range(messages):
        faulting.keep_pace(number / messages)
        while number not in sent:
            try:
                app.send_task("plain.classify", args=[number], queue=plain.QUEUE)
                sent.add(number)
            except (OperationalError, RedisError, OSError):
                time.sleep(0.2)
    app.close()
    return sent


def _effects(set_up: Stage, sent: set[int], settle_s: float) -> list[int]:
    """Wait until all ran, or nothing moved for a while."""
    found: list[int] = []
    moved = time.monotonic()
    while time.monotonic() - moved < settle_s:
        with Redis.from_url(set_up.redis.url) as redis:
            now = [int(raw) for raw in redis.lrange(plain.EFFECTS_KEY, 0, -1)]
        if len(now) > len(found):
            found, moved = now, time.monotonic()
        if sent <= set(found):
            break
        time.sleep(0.5)
    return found


def _poison_starts(set_up: Stage) -> dict[str, int]:
    """Say how often the poison messages were attempted, if there were any."""
    if "submit_poison" not in set_up.done:
        return {}
    with Redis.from_url(set_up.redis.url) as redis:
        return {"poison_starts": int(redis.get(plain.POISON_STARTS_KEY) or 0)}
