"""A whole deployment over TLS, with a user of an ACL: everything works, and its password is in nothing one can read."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import psutil
import pytest

from pointsman_producer.client.async_client import AsyncClient
from pointsman_producer.client.client import Client
from pointsman_producer.deployment import embedded_redis
from pointsman_shared import errors
from tests.acceptance.test_local_deployment import environ, furnish
from tests.support import secure_redis
from tests.support.deadlines import eventually

BIN = Path(sys.executable).parent
DEADLINE_S = 90

pytestmark = pytest.mark.slow
# The password as it is, as it stands in the URL, and a piece that survives most ways of quoting either.
TRACES = (secure_redis.PASSWORD, quote(secure_redis.PASSWORD, safe=""), "s3$me", "s3%24me")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A deployment that runs, and how to reach its Redis."""

    folder: Path
    redis_port: int
    flower_port: int
    process: subprocess.Popen[str]
    lines: list[str]

    @property
    def url(self) -> str:
        return secure_redis.url(self.redis_port, self.folder / "ca.pem")

    def run(self, *command: str, url: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment."""
        return subprocess.run(
            [BIN / command[0], *command[1:]],
            cwd=self.folder,
            env={**environ(), "POINTSMAN_REDIS_URL": self.url if url is None else url},
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = furnish(tmp_path_factory.mktemp("secured"))
    with secure_redis.serve(folder) as redis_port:
        flower_port, lines = embedded_redis.free_port(), list[str]()
        with subprocess.Popen(
            [BIN / "pointsman", "up", f"--flower-port={flower_port}"],
            cwd=folder,
            env={
                **environ(),
                "POINTSMAN_REDIS_URL": secure_redis.url(redis_port, folder / "ca.pem"),
                "POINTSMAN_TRAIN_SCHEDULE": "base: * * * * *",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            threading.Thread(target=lines.extend, args=(process.stdout,), daemon=True).start()
            try:
                eventually(
                    lambda: (
                        process.poll() is not None or any("Pointsman is up" in line for line in list(lines))
                    ),
                    "everything runs",
                    DEADLINE_S,
                )
                assert process.poll() is None, "".join(lines)
                yield Place(
                    folder=folder,
                    redis_port=redis_port,
                    flower_port=flower_port,
                    process=process,
                    lines=lines,
                )
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(DEADLINE_S)


def leaks(text: str) -> list[str]:
    return [trace for trace in TRACES if trace in text]


def test_clients_submit_and_read(place: Place) -> None:
    with Client(place.url) as client:
        assert client.classify("hi", timeout_s=30).text == "hi"

    async def ask() -> str | None:
        async with AsyncClient(place.url) as client:
            return (await client.classify("bye", timeout_s=30)).text

    assert asyncio.run(ask()) == "bye"


@pytest.mark.parametrize(
    "command",
    [
        ["classify", "hi"],
        ["doctor"],
        ["dead", "list"],
        ["models", "list"],
        ["shadow", "pairs"],
        ["health", "serving"],
        ["health", "trainer"],
        ["cancel", "--batch", "none"],
        ["batch", "data/transcripts.jsonl", "-o", "outcomes.jsonl"],
    ],
    ids=" ".join,
)
def test_commands_work_and_keep_the_password_to_themselves(place: Place, command: list[str]) -> None:
    done = place.run("pointsman", *command)
    assert done.returncode == 0, done.stderr
    assert leaks(done.stdout + done.stderr) == []


def test_beat_asks_the_trainer_works_and_the_workers_take_over(place: Place) -> None:
    eventually(
        lambda: any("tier base serves version 2" in line for line in list(place.lines)),
        "a training",
        DEADLINE_S,
    )


def test_flower_shows_workers_and_queues_but_no_password(place: Place) -> None:
    def pages() -> str:
        read = []
        for path in (
            "/workers?json=1",
            f"/worker/serving@{os.uname().nodename}",
            "/tasks",
            "/broker",
            "/metrics",
        ):
            with urlopen(f"http://127.0.0.1:{place.flower_port}{path}", timeout=20) as page:
                read.append(page.read().decode())
        return "".join(read)

    eventually(lambda: "serving@" in pages(), "Flower sees the workers", DEADLINE_S)
    shown = pages()
    assert leaks(shown) == []
    assert f"rediss://{secure_redis.USER}:" in shown
    assert "interactive" in shown


def test_no_command_line_no_log_and_no_file_has_the_password(place: Place) -> None:
    family = [
        place.process.pid,
        *(child.pid for child in psutil.Process(place.process.pid).children(recursive=True)),
    ]
    assert len(family) > 6
    for pid in family:
        assert leaks(" ".join(psutil.Process(pid).cmdline())) == []
    assert leaks("".join(place.lines)) == []
    assert [line for line in place.lines if "Traceback" in line] == []
    state = [path for path in (place.folder / ".pointsman").rglob("*") if path.is_file()]
    assert state
    assert [path for path in state if leaks(path.read_bytes().decode(errors="replace"))] == []


@pytest.mark.parametrize("command", [["classify", "hi"], ["doctor"], ["up"], ["dead", "list"]], ids=" ".join)
@pytest.mark.parametrize("mistake", ["password", "authority", "plain"])
def test_what_is_wrong_is_said_without_the_password(place: Place, command: list[str], mistake: str) -> None:
    url = {
        "password": secure_redis.url(place.redis_port, place.folder / "ca.pem", password="s3$me%other"),
        "authority": secure_redis.url(place.redis_port, None),
        "plain": secure_redis.url(place.redis_port, None, scheme="redis"),
    }[mistake]
    done = place.run("pointsman", *command, url=url)
    said = done.stdout + done.stderr
    assert done.returncode == 4
    assert leaks(said) == []
    assert "Traceback" not in said
    assert {"password": "password", "authority": "certificate", "plain": "closed"}[mistake] in said


def test_a_client_with_a_wrong_password_is_told_so_without_the_password(place: Place) -> None:
    url = secure_redis.url(place.redis_port, place.folder / "ca.pem", password="s3$me%other")
    with Client(url) as client, pytest.raises(errors.BrokerUnavailableError) as refusal:
        client.classify("hi")
    assert leaks(str(refusal.value)) == []


@pytest.mark.parametrize("app", ["pointsman_workers.app", "pointsman_workers.trainer"])
def test_a_setting_that_cannot_be_used_ends_a_worker_with_one_line(place: Place, app: str) -> None:
    done = place.run("celery", "-A", app, "worker", url="redis://:s3$me#x@127.0.0.1:1/0")
    assert done.returncode != 0
    assert done.stderr.startswith("pointsman: POINTSMAN_REDIS_URL")
    assert len(done.stderr.splitlines()) == 1
    assert leaks(done.stderr) == []
