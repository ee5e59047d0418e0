"""What the ledger of open messages costs in bulk: the same deployment with it and without, in turn."""

import contextlib
import dataclasses
import statistics
import tempfile
from pathlib import Path
from unittest import mock

import psutil
from kombu.transport import redis as kombu_redis

from benchmarks import corpus, deployment
from benchmarks.meter import Meter, serving
from benchmarks.throughput import through_the_queue
from pointsman_producer.client.client import Client
from pointsman_producer.deployment.launcher import APP, Deployment
from pointsman_producer.deployment.supervisor import Program
from pointsman_shared.broker import transport

TEXTS = 40_000
# Deployments differ by some percent for as long as they run, under equal work.
DEPLOYMENTS = 8
ROUNDS = 8
UNLEDGERED_APP = "benchmarks.unledgered_app"


class Unledgered(Deployment):
    """A deployment whose serving worker keeps no ledger."""

    def programs(self) -> list[Program]:
        """Give the programs, with the other application."""
        return [
            dataclasses.replace(
                one, command=[UNLEDGERED_APP if part == APP else part for part in one.command]
            )
            for one in super().programs()
        ]


def run(trained: Path) -> None:
    """Print the ratio."""
    texts = corpus.texts(TEXTS)
    taken: dict[str, list[tuple[float, float]]] = {"without": [], "with": []}
    with tempfile.TemporaryDirectory() as folder:
        # Shadowing reuses what the ledger keeps, so nothing is shadowed.
        flags_file = deployment.flags(Path(folder), deployment.NOT_SHADOWED)
        for number in range(DEPLOYMENTS):
            kinds = {"without": Unledgered, "with": Deployment}
            for name, found in _measured(
                texts, trained, flags_file, kinds, is_reversed=number % 2 == 1
            ).items():
                taken[name] += found
    _show(taken)


def _measured(
    texts: list[str],
    trained: Path,
    flags_file: Path,
    kinds: dict[str, type[Deployment]],
    *,
    is_reversed: bool,
) -> dict[str, list[tuple[float, float]]]:
    """Start each kind of deployment, and give seconds and processor seconds of its rounds."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    with contextlib.ExitStack() as stack:
        contestants = {}
        for name in list(kinds)[:: -1 if is_reversed else 1]:
            ours = stack.enter_context(
                deployment.running(workers=2, trained=trained, flags_file=flags_file, kind=kinds[name])
            )
            client = stack.enter_context(Client(settings=ours.settings))
            # The producer's process is this one.
            meter = Meter([psutil.Process(), *serving(ours)])
            contestants[name] = (meter, through_the_queue(client, texts))
        for number in range(-2, ROUNDS):
            for name in list(contestants)[:: 1 if number % 2 else -1]:
                meter, contestant = contestants[name]
                with _entries(name == "with"):
                    found = meter.timed(contestant)
                # The first rounds warm everything up.
                if number >= 0:
                    taken[name].append(found)
    return taken


def _entries(are_made: bool) -> contextlib.AbstractContextManager[object]:
    """Have this producer make entries in the ledger or not."""
    if are_made:
        return contextlib.nullcontext()
    return mock.patch.object(transport.Channel, "_put", kombu_redis.Channel._put)


def _show(taken: dict[str, list[tuple[float, float]]]) -> None:
    print(
        f"\nThe ledger of open messages ({TEXTS:,} texts in bulk, 2 worker processes; "
        f"{DEPLOYMENTS} deployments of each kind, {ROUNDS} rounds in turn)"
    )
    for name, found in taken.items():
        seconds, cpu_s = (statistics.median(values) for values in zip(*found, strict=True))
        print(f"  {name:<10}{TEXTS / seconds:>12,.0f} texts/s {cpu_s / TEXTS * 1e6:8.1f} us of CPU a text")
    rounds = zip(taken["without"], taken["with"], strict=True)
    speed, cpu = zip(*((before[0] / after[0], after[1] / before[1]) for before, after in rounds), strict=True)
    for name, ratios in (("speed", speed), ("CPU", cpu)):
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"  ratio of {name}, median of the rounds {middle:.3f} (quartiles {low:.3f} to {high:.3f})")
