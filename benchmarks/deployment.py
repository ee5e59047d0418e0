"""A deployment for the benchmarks: embedded Redis, our workers, a plain Celery worker beside them, a registry."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from celery import Celery
from celery.result import AsyncResult

from benchmarks.corpus import ROOT
from pointsman_models.data import tiers
from pointsman_models.promotion import training_run
from pointsman_models.registry.versions import Registry
from pointsman_producer.client.client import Client
from pointsman_producer.deployment import embedded_redis
from pointsman_producer.deployment.launcher import Deployment
from pointsman_shared import names
from pointsman_shared.settings import Settings

SETTLE_S = 120
# What `flags` takes: nothing is shadowed, or only the texts of users that say so.
NOT_SHADOWED: Mapping[str, object] = {"v": {"d": 0.0}}
SHADOWED_IF_ASKED: Mapping[str, object] = {
    "r": [{"c": [{"u": {"a": "shadowed", "c": 0, "l": ["yes"]}}], "s": {"v": {"d": 1.0}, "i": "shadowed"}}],
    "v": {"d": 0.0},
    "i": "others",
}


@contextlib.contextmanager
def running(
    *,
    workers: int,
    trained: Path,
    flags_file: Path = ROOT / "data" / "flags.json",
    data: Path = ROOT / "data",
    kind: type[Deployment] = Deployment,
) -> Iterator[Deployment]:
    """Run a whole deployment, with versions that were trained before."""
    settings = Settings(registry_url=str(trained), data_dir=data, flags_file=flags_file)
    with (
        tempfile.TemporaryDirectory(prefix="pointsman-bench-") as folder,
        kind(
            settings,
            workers=workers,
            redis_port=embedded_redis.free_port(),
            beat=False,
            state_dir=Path(folder),
            say=lambda *_: None,
        ) as deployment,
    ):
        deployment.wait_ready()
        yield deployment


@contextlib.contextmanager
def plain_worker(settings: Settings, *, workers: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a plain Celery worker on the same Redis."""
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "benchmarks.plain_app",
        "worker",
        "-c",
        str(workers),
        "-n",
        "plain@%h",
    ]
    process = subprocess.Popen(
        command,
        env={**os.environ, **settings.environ()},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def plain_sender(settings: Settings) -> Callable[[str], AsyncResult[Any]]:
    """Give a function that sends a text to the plain worker."""
    url = settings.redis_url.get_secret_value()
    app = Celery("plain", broker=url, backend=url)
    return lambda text: app.send_task("plain.classify", args=[text], queue="plain")


def trained(folder: Path) -> Path:
    """Train both tiers into a folder, unless they are there."""
    registry = Registry(str(folder))
    for tier in tiers.load(ROOT / "data" / "tiers.toml").values():
        if registry.champion(tier.name) is None:
            print(f"training {tier.name} ...", flush=True)
            training_run.train(tier, registry)
    return folder


def flags(folder: Path, shadow: Mapping[str, object]) -> Path:
    """Write the shipped flags, but for the share of texts to be shadowed; gives the file."""
    shipped = json.loads((ROOT / "data" / "flags.json").read_text(encoding="utf-8"))
    shipped["f"][names.SHADOW_FLAG] |= shadow
    path = folder / "flags.json"
    path.write_text(json.dumps(shipped), encoding="utf-8")
    return path


def settle(*clients: Client) -> None:
    """Wait until all shadow work is done."""
    for client in clients:
        if not client.shadow.wait_drained(SETTLE_S):
            msg = f"shadow work was left after {SETTLE_S} s"
            raise TimeoutError(msg)
