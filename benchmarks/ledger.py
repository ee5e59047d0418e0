"""What the ledger of open messages costs in bulk: the same deployment with it and without, in turn."""

import dataclasses
import json
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

from kombu.transport import redis as kombu_redis

from benchmarks import corpus, deployment
from benchmarks.throughput import through_the_queue
from pointsman_producer.client import Client
from pointsman_producer.launcher import APP, Deployment
from pointsman_producer.supervisor import Program
from pointsman_shared import names, transport

TEXTS = 20_000
ROUNDS = 25
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
    with tempfile.TemporaryDirectory() as folder:
        flags_file = _flags(Path(folder))
        with (
            deployment.running(workers=2, trained=trained, flags_file=flags_file) as ledgered,
            deployment.running(
                workers=2, trained=trained, flags_file=flags_file, kind=Unledgered
            ) as unledgered,
            Client(settings=ledgered.settings) as one,
            Client(settings=unledgered.settings) as other,
        ):
            with_ledger = through_the_queue(one, texts)
            without_entries = through_the_queue(other, texts)

            def without() -> int:
                with mock.patch.object(transport.Ledgering, "_put", kombu_redis.Channel._put):
                    return without_entries()

            rates: dict[str, list[float]] = {"without": [], "with": []}
            for number in range(-2, ROUNDS):
                turns = [("without", without), ("with", with_ledger)][:: 1 if number % 2 else -1]
                for name, contestant in turns:
                    began = time.perf_counter()
                    done = contestant()
                    # The first rounds warm everything up.
                    if number >= 0:
                        rates[name].append(done / (time.perf_counter() - began))
    _show(rates)


def _show(rates: dict[str, list[float]]) -> None:
    ratios = [after / before for before, after in zip(rates["without"], rates["with"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(
        f"\nThe ledger of open messages ({TEXTS:,} texts in bulk, 2 worker processes, {ROUNDS} rounds in turn)"
    )
    for name, values in rates.items():
        print(f"  {name:<10}{statistics.median(values):>12,.0f} texts/s")
    print(f"  ratio, median of the rounds {middle:.3f} (quartiles {low:.3f} to {high:.3f})")


def _flags(folder: Path) -> Path:
    """Write the shipped flags with nothing shadowed: shadowing reuses what the ledger keeps."""
    shipped = json.loads((corpus.ROOT / "data" / "flags.json").read_text(encoding="utf-8"))
    shipped["f"][names.SHADOW_FLAG]["v"]["d"] = 0.0
    path = folder / "flags.json"
    path.write_text(json.dumps(shipped), encoding="utf-8")
    return path
