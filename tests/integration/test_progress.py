"""How far a training is, as the client hears it and as a real Flower shows it."""

import contextlib
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pointsman_producer.client.client import Client
from pointsman_producer.deployment import embedded_redis
from pointsman_shared import errors
from pointsman_shared.settings import Settings
from tests.support import live_tiers, reaper, running
from tests.support.deadlines import eventually

TIMEOUT_S = 60


def page(url: str) -> str:
    """Give a page's words."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  the loopback interface
            content: str = answer.read().decode()
    except OSError:
        return ""
    return " ".join(re.sub(r"<[^>]+>", " ", content).split())


@contextlib.contextmanager
def flower(settings: Settings, log: Path) -> Iterator[str]:
    """Run Flower and give its URL."""
    port = embedded_redis.free_port()
    command = ["-A", "pointsman_workers.app", "flower", "--address=127.0.0.1", f"--port={port}"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "--quiet", *command],
            env={"PATH": "", **settings.environ(), **reaper.mark()},
            stdout=file,
            stderr=file,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: "trainer@" in page(f"{url}/workers"), "Flower hears of the trainer", TIMEOUT_S)
        yield url
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.slow
def test_the_stage_and_the_fraction_are_told_to_the_client_and_shown_by_flower(tmp_path: Path) -> None:
    pytest.importorskip("flower")
    extra = {"data_dir": live_tiers.write(tmp_path / "data", search=live_tiers.SLOW)}
    with (
        running.deployment(tmp_path, workers=1, extra=extra) as deployed,
        Client(settings=deployed.settings) as client,
        flower(deployed.settings, tmp_path / "flower.log") as url,
    ):
        run = client.train("base")
        told: list[float] = []

        def goes_on() -> bool:
            progress = run.progress()
            if progress is not None and progress.stage == "searching":
                told.append(progress.fraction)
            return len(set(told)) >= 3

        eventually(goes_on, "the client hears three times", TIMEOUT_S)
        assert told == sorted(told)
        assert 0 < told[-1] < 1
        eventually(
            lambda: re.search(r"searching \d+%", page(f"{url}/task/{run.id}")) is not None,
            "Flower shows it",
            TIMEOUT_S,
        )
        client.cancel_training("base")
        with pytest.raises(errors.CancelledError):
            run.result(TIMEOUT_S)
