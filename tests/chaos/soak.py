"""A soak: steady work, all of it shadowed, at half of what the deployment can do, and what memory it takes meanwhile.

python -m tests.chaos.soak --minutes 30
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import psutil

from pointsman_producer.client.client import Client
from pointsman_producer.client.handles import MessageHandle
from pointsman_producer.client.users import checked_request
from pointsman_shared import names
from pointsman_shared.wire import jobs
from tests.support import flag_config, running, tiny
from tests.support.running import Running

MIB = 1024 * 1024
TEXTS = [text for utterances in tiny.UTTERANCES.values() for text in utterances]
SIZE = 500
PRO_USER = jobs.User(id="pro", custom={"plan": "pro"})
# What is kept is kept for minutes, so that what should stay level is level soon.
SETTINGS = {"result_ttl_s": 60, "shadow_max_age_s": 20}
# What is kept longest, the ledger's guards of what was served, twice over.
WARM_UP_MINUTES = 5.0
WINDOW = 64
FLAGS_S = 3.0
TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Sample:
    """What memory was taken at a moment, in MiB."""

    at_s: float
    redis: float
    worker: float
    children: float


class Load:
    """Submits the same message again and again, and counts what comes back."""

    def __init__(self, client: Client, *, batch: str) -> None:
        users = [None if place % 3 else PRO_USER for place in range(SIZE)]
        texts = [TEXTS[place % len(TEXTS)] for place in range(SIZE)]
        self._client = client
        self._request = checked_request(texts, users, batch)
        self._waiting = deque[MessageHandle]()
        self.sent = self.done = 0

    def submit(self) -> None:
        """Submit one message."""
        self._waiting.append(self._client.submit_message(self._request))
        self.sent += SIZE

    def collect(self, *, leave: int | None = None) -> None:
        """Take what is done; waits if more than `leave` messages are under way."""
        while self._waiting and (
            self._waiting[0].done() or (leave is not None and len(self._waiting) > leave)
        ):
            self.done += len(self._waiting.popleft().result(TIMEOUT_S).intent)


def main() -> int:
    """Run, and print a line every few seconds."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--warm-up", type=float, default=WARM_UP_MINUTES, help="minutes that do not count")
    parser.add_argument("--texts-per-s", type=float, help="otherwise half of what was measured first")
    parser.add_argument("--calibrate", type=float, default=20, help="seconds to measure that for")
    parser.add_argument("--every", type=float, default=15, help="seconds between two lines")
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="pointsman-soak-") as folder,
        running.deployment(Path(folder), extra=SETTINGS) as deployed,
        Client(settings=deployed.settings) as client,
    ):
        _shadow_all(deployed)
        load = Load(client, batch="soak")
        rate = asked.texts_per_s or _capacity(load, asked.calibrate) / 2
        print(f"{asked.minutes:g} minutes at {rate:,.0f} texts/s", flush=True)
        samples = _run(deployed, client, load, rate, asked)
        load.collect(leave=0)
        _summarise([sample for sample in samples if sample.at_s >= asked.warm_up * 60])
        return _check(client, load)


def _shadow_all(deployed: Running) -> None:
    document = flag_config.plan_flag(flag_config.TIER_FLAG, "pro")
    document["f"][names.SHADOW_FLAG] = flag_config.flag(1.0)
    deployed.set_flags(document)
    candidate = running.keep(deployed.registry, "base", tiny.BASE_INTENTS)
    deployed.registry.nominate("base", candidate, "soak", "to compare with")
    time.sleep(FLAGS_S)


def _capacity(load: Load, seconds: float) -> float:
    """Measure how many texts a second come back when there is always a next message."""
    started, before = time.monotonic(), load.done
    while time.monotonic() - started < seconds:
        load.submit()
        load.collect(leave=WINDOW)
    load.collect(leave=0)
    measured = (load.done - before) / (time.monotonic() - started)
    print(f"capacity: {measured:,.0f} texts/s, measured for {seconds:g} s", flush=True)
    return measured


def _run(
    deployed: Running, client: Client, load: Load, rate: float, asked: argparse.Namespace
) -> list[Sample]:
    samples: list[Sample] = []
    started = time.monotonic()
    before, told = load.sent, 0.0
    while (at_s := time.monotonic() - started) < asked.minutes * 60:
        if load.sent - before < at_s * rate:
            load.submit()
        else:
            time.sleep(0.005)
        load.collect()
        if at_s - told >= asked.every:
            told = at_s
            samples.append(_sample(deployed, client, at_s))
            print(f"{_shown(samples[-1])}  {load.done:>12,} texts", flush=True)
    return samples


def _sample(deployed: Running, client: Client, at_s: float) -> Sample:
    parent = psutil.Process(deployed.deployment.pids()["serving"])
    unshared = sum(child.memory_full_info().uss for child in parent.children())
    used = client._store.info("memory")["used_memory"]
    return Sample(at_s, used / MIB, parent.memory_info().rss / MIB, unshared / MIB)


def _shown(sample: Sample) -> str:
    return (
        f"{sample.at_s:6.0f} s  Redis {sample.redis:7.1f} MiB  worker {sample.worker:6.1f} MiB  "
        f"its children's own {sample.children:6.1f} MiB"
    )


def _summarise(samples: list[Sample]) -> None:
    """Print the first and the last after the warm-up, and the slope of the line of least squares in between."""
    if len(samples) < 2:
        print("too short to tell: nothing was seen after the warm-up")
        return
    print(f"after warm-up: {_shown(samples[0])}\nat the end:    {_shown(samples[-1])}")
    hours = [sample.at_s / 3600 for sample in samples]
    for name in ("redis", "worker", "children"):
        values = [getattr(sample, name) for sample in samples]
        slope = statistics.linear_regression(hours, values).slope
        print(
            f"{name}: {slope:+.2f} MiB an hour, median {statistics.median(values):.1f}, most {max(values):.1f}"
        )


def _check(client: Client, load: Load) -> int:
    """Compare what was submitted with what was counted, compared and shed."""
    client.shadow.wait_drained(TIMEOUT_S)
    counted = client.progress("soak")
    pairs = client.shadow.pairs()
    served = {
        tier: sum(count for name, count in counted.items() if name.startswith(f"{tier}:"))
        for tier in ("base", "pro")
    }
    due = sum(served[str(row["served"]).partition("@")[0]] for row in pairs)
    compared, missed = (sum(row[name] for row in pairs) for name in ("texts", "missed"))
    # Of what was dropped only the number of messages is known; they all have the same size here.
    dropped = int(client._store.hget(client._store.keys.stats, names.SHADOW_DROPPED) or 0)
    off = abs(due - compared - missed - dropped * due * SIZE // load.sent)
    print(
        f"submitted {load.sent:,}, done {load.done:,}, counted {counted['done']:,}; {compared:,} comparisons, "
        f"{missed:,} shed, {dropped:,} messages of {load.sent // SIZE:,} not even counted by text, {off} unaccounted for"
    )
    return 0 if load.done == load.sent == counted["done"] and not off else 1


if __name__ == "__main__":
    sys.exit(main())
