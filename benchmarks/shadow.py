"""What shadowing every text costs users: throughput and single jobs, with shadowing and without, in turn.

Whether a text is shadowed depends on its user here, so that turns can be short and no process has to notice a change.
"""

import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import corpus, deployment, figures
from benchmarks.meter import Meter, serving
from benchmarks.reference import MESSAGE
from benchmarks.throughput import TURNS_OF_A_USER
from pointsman_producer.client.client import Client
from pointsman_producer.client.users import checked_request
from pointsman_shared.wire import jobs

BULK_TEXTS = 20_000
JOBS = 600
# Long enough for the work that waits to be done in between.
BEHIND_JOBS = 1_000
ROUNDS = 12
TIMEOUT_S = 120
NONE, EVERY, BEHIND = "nothing shadowed", "every text shadowed", "the same, bulk work waits to be shadowed"
USERS = {
    shadowed: [
        jobs.User(
            id=f"{shadowed}-{number}", custom={"plan": ["free", "pro"][number % 2], "shadowed": shadowed}
        )
        for number in range(60)
    ]
    for shadowed in ("no", "yes")
}


@dataclass(slots=True)
class Measured:
    """What was measured of one way to run."""

    rates: list[float] = field(default_factory=list)
    bulk_cpu_s: list[float] = field(default_factory=list)
    jobs_ms: list[float] = field(default_factory=list)
    jobs_cpu_s: list[float] = field(default_factory=list)


def run(trained: Path) -> None:
    """Print the tables."""
    measured = {name: Measured() for name in (NONE, EVERY, BEHIND)}
    left_s: list[float] = []
    texts = corpus.texts(BULK_TEXTS)
    with (
        tempfile.TemporaryDirectory() as folder,
        deployment.running(
            workers=2,
            trained=trained,
            flags_file=deployment.flags(Path(folder), deployment.SHADOWED_IF_ASKED),
        ) as ours,
        Client(settings=ours.settings) as client,
    ):
        meter = Meter(serving(ours))
        for number in range(-1, ROUNDS):
            # The first round warms everything up.
            into = measured if number >= 0 else {name: Measured() for name in measured}
            for name, users in ((NONE, "no"), (EVERY, "yes"))[:: 1 if number % 2 else -1]:
                one = into[name]
                took, cpu_s = meter.timed(lambda: _bulk(client, texts, users))  # noqa: B023  called at once
                one.rates.append(len(texts) / took)
                one.bulk_cpu_s.append(cpu_s)
                took, _ = meter.timed(lambda: deployment.settle(client))
                if number >= 0 and name == EVERY:
                    left_s.append(took)
                _, cpu_s = meter.timed(lambda: one.jobs_ms.extend(_jobs(client, texts, users)))  # noqa: B023
                one.jobs_cpu_s.append(cpu_s / JOBS)
                deployment.settle(client)
            _bulk(client, texts, "yes")
            into[BEHIND].jobs_ms += _jobs(client, texts, "yes", count=BEHIND_JOBS)
            deployment.settle(client)
        pairs = client.shadow.pairs()
    _show(measured, left_s)
    print(
        f"  compared {sum(pair['texts'] for pair in pairs):,} texts, "
        f"missed {sum(pair['missed'] for pair in pairs):,}"
    )


def _show(measured: dict[str, Measured], left_s: list[float]) -> None:
    print(
        f"\nShadowing ({BULK_TEXTS:,} texts in bulk, {JOBS} single jobs; 2 worker processes, {ROUNDS} rounds in turn)"
    )
    for name in (NONE, EVERY):
        one = measured[name]
        cpu_us = statistics.median(one.bulk_cpu_s) / BULK_TEXTS * 1e6
        print(
            f"  bulk, {name:<42}{statistics.median(one.rates):>10,.0f} texts/s {cpu_us:8.1f} us of CPU a text"
        )
    pairs = zip(measured[NONE].rates, measured[EVERY].rates, strict=True)
    print(
        f"  {'ratio, median of the rounds':<48}{statistics.median(one / none for none, one in pairs):>10.3f}"
    )
    print(f"  {'shadow work that is left then':<48}{statistics.median(left_s):>10.2f} s")
    for name, one in measured.items():
        shares = "".join(f"   p{at} {figures.percentile(one.jobs_ms, at):6.2f} ms" for at in (50, 95, 99))
        cpu = f"   {statistics.median(one.jobs_cpu_s) * 1000:.2f} ms of CPU a job" if one.jobs_cpu_s else ""
        print(f"  single job, {name:<41}{shares}{cpu}")


def _bulk(client: Client, texts: list[str], shadowed: str) -> None:
    """Submit, and read all outcomes."""
    users = USERS[shadowed]
    handles = [
        client.submit_message(
            checked_request(
                texts[start : start + MESSAGE],
                [users[place // TURNS_OF_A_USER % len(users)] for place in range(start, start + MESSAGE)],
            )
        )
        for start in range(0, len(texts), MESSAGE)
    ]
    for handle in handles:
        handle.result(TIMEOUT_S)


def _jobs(client: Client, texts: list[str], shadowed: str, *, count: int = JOBS) -> list[float]:
    """Give the milliseconds each of some jobs took, one after the other."""
    taken = []
    for place in range(count):
        started = time.perf_counter()
        client.classify(texts[place], user=USERS[shadowed][place % 2], timeout_s=TIMEOUT_S)
        taken.append((time.perf_counter() - started) * 1000)
    return taken
