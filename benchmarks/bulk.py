"""Bulk work of which no text repeats, through the queue: against scikit-learn's own `predict` in as many processes.

Both tiers are models of CLINC150's 150 intents and out-of-scope texts, word 1-2-grams and LinearSVC, so that routing
decides nothing about the work. The users have attributes, half of them are on pro. All outcomes are read.
"""

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sklearn.pipeline import Pipeline
from sklearn.svm import LinearSVC

from benchmarks import classifier, corpus, deployment
from benchmarks.meter import Meter, by_role
from pointsman_models.data import tiers
from pointsman_models.inference.linear_model import LinearModel
from pointsman_models.registry.card import Card, library_versions
from pointsman_models.registry.versions import Registry
from pointsman_models.training import linear_models, pipelines
from pointsman_producer.client.client import Client
from pointsman_producer.client.users import checked_request
from pointsman_producer.deployment.launcher import Deployment
from pointsman_shared import names
from pointsman_shared.wire import jobs

TEXTS = 50_000
ROUNDS = 3
TURNS = 5
TIMEOUT_S = 120
WORKERS = 2
REFERENCE = "scikit-learn in two processes, no queue"
# Nothing is shadowed, or only the texts of users that say so.
SHADOW_FLAG = {
    "r": [{"c": [{"u": {"a": "shadowed", "c": 0, "l": ["yes"]}}], "s": {"v": {"d": 1.0}, "i": "shadowed"}}],
    "v": {"d": 0.0},
    "i": "others",
}

_pipeline: Any = None


def run(_: Path) -> None:
    """Print the table."""
    print(f"\nBulk, {TEXTS:,} texts of nine words that all differ, {WORKERS} worker processes")
    if not classifier.CLINC.exists():
        print(f"  skipped: {classifier.CLINC} is not there")
        return
    rows = [json.loads(line) for line in classifier.CLINC.read_text(encoding="utf-8").splitlines()]
    texts = classifier.distinct([row["text"] for row in rows], TEXTS)
    global _pipeline  # noqa: PLW0603  the processes of the pool inherit it
    _pipeline = Pipeline(
        [("features", pipelines.make_features(classifier.FEATURES["words"])), ("classifier", LinearSVC())]
    )
    _pipeline.fit(*zip(*classifier.of_intents(rows, max(classifier.INTENTS)), strict=True))
    with tempfile.TemporaryDirectory() as folder:
        data = _declare(Path(folder), _pipeline.classes_.tolist())
        trained = _keep(Path(folder) / "registry", linear_models.from_pipeline(_pipeline))
        flags_file = deployment.flags(Path(folder), SHADOW_FLAG)
        with (
            multiprocessing.get_context("fork").Pool(WORKERS) as pool,
            deployment.running(workers=WORKERS, trained=trained, flags_file=flags_file, data=data) as ours,
            Client(settings=ours.settings) as client,
        ):
            contestants = {
                REFERENCE: lambda: _reference(pool, texts),
                **_ways(client, texts),
                "pointsman batch, JSON lines": _batch(ours, Path(folder), texts),
            }
            pids = ours.pids()
            meters = by_role(pids["redis"], pids["serving"])
            _measure(contestants, meters, settle=lambda: deployment.settle(client))


def _ways(client: Client, texts: Sequence[str]) -> dict[str, Callable[[], int]]:
    ways: dict[str, Callable[[], int]] = {
        "submit_many, each handle's result": lambda: _handles(client, texts, people(200))
    }
    for size, count, shadowed in (
        (500, 200, "no"),
        (500, 2, "no"),
        (500, 5_000, "no"),
        (500, 200, "yes"),
        (100, 200, "no"),
        (2_000, 200, "no"),
    ):
        title = f"messages of {size:,}, {count:,} users{', all shadowed' if shadowed == 'yes' else ''}"
        ways[title] = _columns(client, texts, people(count, shadowed), size)
    return ways


def people(count: int, shadowed: str = "no") -> list[jobs.User]:
    """Return users with attributes, half of them on pro."""
    return [
        jobs.User(
            id=f"{shadowed}-{number}",
            country="GB",
            custom={"plan": ["free", "pro"][number % 2], "seats": number % 9, "shadowed": shadowed},
        )
        for number in range(count)
    ]


def _handles(client: Client, texts: Sequence[str], users: list[jobs.User]) -> int:
    handles = client.submit_many(texts, users=[users[place % len(users)] for place in range(len(texts))])
    return len([handle.result(TIMEOUT_S) for handle in handles])


def _columns(client: Client, texts: Sequence[str], users: list[jobs.User], size: int) -> Callable[[], int]:
    of = [users[place % len(users)] for place in range(len(texts))]

    def contestant() -> int:
        handles = [
            client.submit_message(checked_request(texts[start : start + size], of[start : start + size]))
            for start in range(0, len(texts), size)
        ]
        return sum(len(handle.result(TIMEOUT_S).intent) for handle in handles)

    return contestant


def _batch(ours: Deployment, folder: Path, texts: Sequence[str]) -> Callable[[], int]:
    source, out = folder / "turns.jsonl", folder / "outcomes.jsonl"
    users = people(200)
    with source.open("w", encoding="utf-8") as lines:
        for number, start in enumerate(range(0, len(texts), TURNS)):
            line = {
                "conversation_id": f"c{number}",
                "user": users[number % len(users)].model_dump(exclude_defaults=True),
                "turns": [{"speaker": "customer", "text": text} for text in texts[start : start + TURNS]],
            }
            lines.write(json.dumps(line) + "\n")
    command = [
        str(Path(sys.executable).with_name("pointsman")),
        "batch",
        str(source),
        "-o",
        str(out),
        "--force",
    ]
    environment = {**os.environ, **ours.settings.environ()}

    def contestant() -> int:
        subprocess.run(command, check=True, capture_output=True, env=environment)
        return len(out.read_bytes().splitlines())

    return contestant


def _reference(pool: Any, texts: Sequence[str]) -> int:  # noqa: ANN401  a pool has no public class
    return sum(pool.imap_unordered(_predict, [texts[start : start + 500] for start in range(0, TEXTS, 500)]))


def _predict(texts: Sequence[str]) -> int:
    return len(_pipeline.predict(texts))


def _measure(
    contestants: dict[str, Callable[[], int]], meters: dict[str, Meter], *, settle: Callable[[], object]
) -> None:
    taken: dict[str, list[list[float]]] = {name: [] for name in contestants}
    for number in range(ROUNDS + 1):
        for name, contestant in contestants.items():
            before, started = [meter.cpu_s() for meter in meters.values()], time.perf_counter()
            if contestant() != TEXTS:
                msg = f"{name}: not every text has an outcome"
                raise RuntimeError(msg)
            seconds = time.perf_counter() - started
            spent = [meter.cpu_s() - earlier for meter, earlier in zip(meters.values(), before, strict=True)]
            settle()
            # The first round warms everything up.
            if number:
                taken[name].append([seconds, *spent])
    medians = {
        name: [statistics.median(column) for column in zip(*found, strict=True)]
        for name, found in taken.items()
    }
    print(f"  {'':<44}{'texts/s':>10}  ratio   us of processor time a text: {', '.join(meters)}")
    for name, (seconds, *spent) in medians.items():
        ratio = medians[REFERENCE][0] / seconds
        shown = " ".join(f"{one / TEXTS * 1e6:6.1f}" for one in spent) if name != REFERENCE else ""
        print(f"  {name:<44}{TEXTS / seconds:>10,.0f} {ratio:6.2f}  {shown}")


def _declare(folder: Path, classes: list[str]) -> Path:
    intents = json.dumps([label for label in classes if label != names.OUT_OF_SCOPE])
    shipped = (corpus.ROOT / "data" / tiers.FILE_NAME).read_text(encoding="utf-8")
    routing, _, _ = shipped.partition("[tiers.")
    declared = "".join(
        f'[tiers.{tier}]\nintents = {intents}\ndatasets = ["none.jsonl"]\n' for tier in ("base", "pro")
    )
    _, _, search = shipped.partition("[search]")
    (folder / tiers.FILE_NAME).write_text(f"{routing}\n{declared}\n[search]{search}", encoding="utf-8")
    return folder


def _keep(folder: Path, model: LinearModel) -> Path:
    registry = Registry(str(folder))
    for tier in ("base", "pro"):
        card = Card(
            tier=tier,
            created_at="2026-01-01T00:00:00+00:00",
            requested_by="benchmark",
            duration_s=0.0,
            pipeline="words 1-2; LinearSVC",
            parameters={},
            intents=tuple(label for label in model.classes if label != names.OUT_OF_SCOPE),
            classes=model.classes,
            temperature=2.0,
            threshold=0.3,
            metrics={},
            per_intent={},
            data=(),
            examples={},
            seed=0,
            libraries=library_versions(),
        )
        registry.promote(tier, registry.save(tier, model, card).version, "benchmark", "to have one")
    return folder
