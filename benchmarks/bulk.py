"""Bulk work of which no text repeats, through the queue: against scikit-learn's own `predict` in as many processes.

Both tiers are models of CLINC150's 150 intents and out-of-scope texts, word 1-2-grams and LinearSVC, so that routing
decides nothing about the work. The users have attributes, half of them are on pro. All outcomes are read.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from sklearn.pipeline import Pipeline
from sklearn.svm import LinearSVC

from benchmarks import classifier, corpus, deployment, reference
from benchmarks.meter import Roles
from benchmarks.throughput import through_the_queue
from pointsman_models.data import tiers
from pointsman_models.inference.linear_model import LinearModel
from pointsman_models.registry.versions import Registry
from pointsman_models.training import linear_models, pipelines
from pointsman_producer.client.client import Client
from pointsman_producer.deployment.launcher import Deployment
from pointsman_shared import names
from pointsman_shared.wire import jobs
from tests.support.cards import card_of

TEXTS = 50_000
ROUNDS = 3
TURNS = 5
TIMEOUT_S = 120
WORKERS = 2


def run(_: Path) -> None:
    """Print the table."""
    print(f"\nBulk, {TEXTS:,} texts of nine words that all differ, {WORKERS} worker processes")
    if not classifier.CLINC.exists():
        print(f"  skipped: {classifier.CLINC} is not there")
        return
    rows = [json.loads(line) for line in classifier.CLINC.read_text(encoding="utf-8").splitlines()]
    texts = classifier.distinct([row["text"] for row in rows], TEXTS)
    pipeline = Pipeline(
        [("features", pipelines.make_features(classifier.FEATURES["words"])), ("classifier", LinearSVC())]
    )
    pipeline.fit(*zip(*classifier.of_intents(rows, max(classifier.INTENTS)), strict=True))
    with tempfile.TemporaryDirectory() as folder:
        data = _declare(Path(folder), pipeline.classes_.tolist())
        trained = _keep(Path(folder) / "registry", linear_models.from_pipeline(pipeline))
        flags_file = deployment.flags(Path(folder), deployment.SHADOWED_IF_ASKED)
        with (
            reference.predicting(pipeline) as in_two_processes,
            deployment.running(workers=WORKERS, trained=trained, flags_file=flags_file, data=data) as ours,
            Client(settings=ours.settings) as client,
        ):
            contestants = {
                reference.NAME: lambda: in_two_processes(texts),
                **_ways(client, texts),
                "pointsman batch, JSON lines": _batch(ours, Path(folder), texts),
            }
            pids = ours.pids()
            roles = Roles(pids["redis"], pids["serving"])
            _measure(contestants, roles, settle=lambda: deployment.settle(client))


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
        ways[title] = through_the_queue(client, texts, _each(people(count, shadowed)), size)
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


def _each(users: list[jobs.User]) -> list[jobs.User]:
    """Give each text a user, in turn."""
    return [users[place % len(users)] for place in range(TEXTS)]


def _handles(client: Client, texts: Sequence[str], users: list[jobs.User]) -> int:
    handles = client.submit_many(texts, users=_each(users))
    return len([handle.result(TIMEOUT_S) for handle in handles])


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


def _measure(
    contestants: dict[str, Callable[[], int]], roles: Roles, *, settle: Callable[[], object]
) -> None:
    taken: dict[str, list[list[float]]] = {name: [] for name in contestants}
    for number in range(ROUNDS + 1):
        for name, contestant in contestants.items():
            seconds, of_roles = roles.timed(partial(_complete, name, contestant))
            settle()
            # The first round warms everything up.
            if number:
                taken[name].append([seconds, *of_roles.values()])
    medians = {
        name: [statistics.median(column) for column in zip(*found, strict=True)]
        for name, found in taken.items()
    }
    print(f"  {'':<44}{'texts/s':>10}  ratio   us of processor time a text: {', '.join(roles.names)}")
    for name, (seconds, *spent) in medians.items():
        ratio = medians[reference.NAME][0] / seconds
        shown = " ".join(f"{one / TEXTS * 1e6:6.1f}" for one in spent) if name != reference.NAME else ""
        print(f"  {name:<44}{TEXTS / seconds:>10,.0f} {ratio:6.2f}  {shown}")


def _complete(name: str, contestant: Callable[[], int]) -> None:
    if contestant() != TEXTS:
        msg = f"{name}: not every text has an outcome"
        raise RuntimeError(msg)


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
        card = card_of(
            model, tier=tier, requested_by="benchmark", pipeline="words 1-2; LinearSVC", temperature=2.0
        )
        registry.promote(tier, registry.save(tier, model, card).version, "benchmark", "to have one")
    return folder
