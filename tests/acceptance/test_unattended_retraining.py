"""Beat retrains, the gate judges, every process takes over what passed, while jobs flow that notice nothing of it."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from pointsman_producer.client import Client, checked_request
from pointsman_producer.health import Probe
from pointsman_shared import names
from tests.support import live_tiers, running, tier_files, tiny
from tests.support.deadlines import eventually
from tests.support.running import Running

pytestmark = pytest.mark.slow

JOBS_A_SECOND = 200
DEADLINE_S = 60
SEVERAL_RUNS = 3


class Traffic:
    """Single jobs, each in a message of its own, at a steady rate, in a thread."""

    def __init__(self, client: Client) -> None:
        self.messages = [client.submit_message(checked_request(["hello there"], [None]))]
        self._client = client
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._stopped.is_set():
            request = checked_request(["hello there"], [None])
            self.messages.append(self._client.submit_message(request, queue=names.INTERACTIVE_QUEUE))
            ahead = len(self.messages) / JOBS_A_SECOND - (time.monotonic() - began)
            if ahead > 0:
                self._stopped.wait(ahead)


@contextlib.contextmanager
def second_beat(deployed: Running, folder: Path) -> Iterator[None]:
    """Somebody started beat twice."""
    app = ["-A", "pointsman_workers.app", "beat", "-s", str(folder / "second"), "--pidfile="]
    with (folder / "second.log").open("wb") as log:
        beat = subprocess.Popen(
            [sys.executable, "-m", "celery", "--quiet", *app, "--loglevel", "INFO"],
            env={"PATH": "", **deployed.settings.environ()},
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        beat.terminate()
        beat.wait(20)


def serving(deployed: Running) -> list[int]:
    """Ask every process which version of base it serves."""
    with contextlib.closing(Probe(deployed.settings)) as probe:
        return [process.tiers[names.BASE_TIER] for process in probe.processes()]


def add_rows(data: Path, round_: int) -> None:
    rows = [(text, intent) for intent in tiny.BASE_INTENTS for text in tier_files.texts(intent)]
    new = [(f"hello from room {number}", "greeting") for number in range(10 * round_, 10 * round_ + 10)]
    tier_files.write_lines(data / "base.jsonl", [*rows, *new])


def ended_runs(deployed: Running) -> int:
    with Redis.from_url(deployed.settings.redis_url.get_secret_value()) as redis:
        return len(list(redis.scan_iter(names.trained_key("*"))))


def promote_better_data(deployed: Running, round_: int) -> None:
    """New data arrives; wait until what was learnt from it serves everywhere, or is followed already."""
    registry = deployed.registry
    before = registry.champion("base")
    add_rows(deployed.settings.data_dir, round_)
    eventually(lambda: registry.champion("base") != before, "a promotion", DEADLINE_S)
    promoted = registry.champion("base")
    eventually(
        lambda: set(serving(deployed)) == {promoted} or registry.champion("base") != promoted,
        "every process serves it",
    )


def break_golden(deployed: Running) -> int | None:
    """Ask for answers the data does not give; wait for runs that are judged by them, and give the champion."""
    wrong = [("hello there", "goodbye"), ("bye now", "greeting")]
    tier_files.write_lines(deployed.settings.data_dir / "golden.jsonl", wrong)
    # The run that read the old file may still be promoted; the later ones may not.
    runs = ended_runs(deployed)
    eventually(lambda: ended_runs(deployed) >= runs + 2, "a run on the broken file", DEADLINE_S)
    good = deployed.registry.champion("base")
    eventually(lambda: ended_runs(deployed) >= runs + 3, "one more run", DEADLINE_S)
    return good


def test_retraining_goes_unnoticed_by_the_jobs(tmp_path: Path) -> None:
    data = live_tiers.write(tmp_path / "data")
    extra = {"data_dir": data, "train_schedule": {"base": "every 4 s"}}
    with (
        running.deployment(tmp_path, beat=True, extra=extra) as deployed,
        Client(settings=deployed.settings) as client,
    ):
        with second_beat(deployed, tmp_path), Traffic(client) as traffic:
            for round_ in range(SEVERAL_RUNS):
                promote_better_data(deployed, round_)
            good = break_golden(deployed)
            assert deployed.registry.champion("base") == good
            eventually(lambda: set(serving(deployed)) == {good}, "the good champion in every process")
        replies = [message.result(DEADLINE_S) for message in traffic.messages]
        # Both beats asked for every run, and each was done once; the first version was there before.
        eventually(
            lambda: ended_runs(deployed) == len(deployed.registry.versions("base")) - 1, "no run under way"
        )
    champions = {entry.champion for entry in deployed.registry.history("base")}
    stopped = deployed.registry.certificate("base", deployed.registry.versions("base")[-1])
    assert stopped is not None
    assert any("golden utterance 'hello there'" in reason for reason in stopped.reasons)
    assert (tmp_path / "second.log").read_text().count("Sending due task") >= SEVERAL_RUNS
    assert {reply.intent[0] for reply in replies} == {"greeting"}
    assert {reply.routes[0].model_version for reply in replies} <= champions
    assert len({reply.message_id for reply in replies}) == len(traffic.messages)
