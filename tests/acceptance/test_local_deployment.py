"""`pointsman up` and what one types beside it, as installed: the processes of the real deployment."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest

from pointsman_models.registry.versions import Registry
from pointsman_producer.deployment import embedded_redis
from pointsman_producer.deployment import state as local_state
from pointsman_shared import names
from tests.support import flag_config, running, tiny
from tests.support.deadlines import eventually

POINTSMAN = Path(sys.executable).with_name("pointsman")
DEADLINE_S = 60
PAYMENT = "Can I pay you with my Google Pay wallet?"


class Up:
    """A running `pointsman up` in a folder of its own."""

    def __init__(self, folder: Path, redis_port: int | None = None) -> None:
        self.folder = folder
        self.redis_port, self.flower_port = (
            redis_port or embedded_redis.free_port(),
            embedded_redis.free_port(),
        )
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [POINTSMAN, "up", f"--redis-port={self.redis_port}", f"--flower-port={self.flower_port}"],
            cwd=folder,
            env=environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()
        eventually(lambda: self._is_ready() or self.process.poll() is not None, "everything runs", DEADLINE_S)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            self.lines.extend(lines)

    def _is_ready(self) -> bool:
        return any(f"redis://127.0.0.1:{self.redis_port}" in line for line in list(self.lines))

    @property
    def redis_url(self) -> str:
        """The URL of its Redis, with the password."""
        found = local_state.running(self.folder / local_state.STATE_DIR)
        return found.redis_url.get_secret_value() if found else ""

    def run(self, *arguments: str, typed: str = "") -> tuple[int, str, str]:
        """Run a command in the same folder."""
        done = subprocess.run(
            [POINTSMAN, *arguments],
            cwd=self.folder,
            env=environ(),
            input=typed,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def family(self) -> list[psutil.Process]:
        """Give all processes it started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self) -> int:
        """Press Ctrl-C and wait."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(DEADLINE_S)


def environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("POINTSMAN_")}


def furnish(folder: Path) -> Path:
    """Make a folder like a clone: the data, the flags, and tiny trained tiers."""
    shutil.copytree(running.DATA, folder / "data")
    registry = Registry(str(folder / "models" / "registry"))
    for tier, intents in (("base", tiny.BASE_INTENTS), ("pro", tiny.PRO_INTENTS)):
        registry.promote(tier, running.keep(registry, tier, intents), "tests", "to have one")
    return folder


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    deployment = Up(furnish(tmp_path_factory.mktemp("clone")))
    yield deployment
    deployment.stop()


def classify(up: Up, *arguments: str) -> dict[str, Any]:
    code, out, err = up.run("classify", PAYMENT, "--json", *arguments)
    assert code == 0, err
    parsed: dict[str, Any] = json.loads(out)
    return parsed


def test_commands_in_the_same_folder_find_the_deployment(up: Up) -> None:
    paying = classify(up, "--user", "ana", "--attr", "plan=pro")
    assert (paying["tier"], paying["intent"], paying["text"]) == ("pro", "payment_methods", PAYMENT)
    assert classify(up, "--user", "bob")["tier"] == "base"


def test_the_doctor_finds_everything_well(up: Up) -> None:
    code, out, err = up.run("doctor", "--json")
    checks = json.loads(out)
    assert code == 0, err
    assert [check for check in checks if check["status"] == "problem"] == []


def test_turning_the_flag_file_turns_the_tier(up: Up) -> None:
    flags = up.folder / "data" / "flags.json"
    before = flags.read_text()
    running.write_flags(flags, flag_config.document({flag_config.TIER_FLAG: flag_config.flag(True)}))
    eventually(lambda: classify(up, "--user", "bob")["tier"] == "pro", "bob on pro")
    flags.write_text(before)
    eventually(lambda: classify(up, "--user", "bob")["tier"] == "base", "bob on base again")


def test_one_can_chat_through_a_pipe(up: Up) -> None:
    code, out, err = up.run("chat", typed="1\n/plan pro\ndo you take paypal\n/back\n3\n")
    assert code == 0, err
    assert "payment_methods" in out + err
    assert "pro" in out + err


def test_flower_shows_the_workers_and_no_texts(up: Up) -> None:
    secret = "a very private sentence"
    up.run("classify", secret, "--user", "private-user")
    page = _get(
        up.flower_port,
        "/tasks/datatable?draw=1&start=0&length=50&search%5Bvalue%5D=&order%5B0%5D%5Bcolumn%5D=0"
        "&order%5B0%5D%5Bdir%5D=asc&columns%5B0%5D%5Bdata%5D=name&columns%5B0%5D%5Bname%5D=name",
    )
    assert names.CLASSIFY_TASK in page
    assert "1 text" in page
    assert secret not in page
    assert "private-user" not in page
    workers = _get(up.flower_port, "/workers?json=1")
    assert "serving@" in workers


def test_the_log_is_tidy_and_says_nothing_private(up: Up) -> None:
    up.run("classify", "a very private sentence", "--user", "private-user")
    log = "".join(up.lines)
    assert re.search(r"^\d\d:\d\d:\d\d +serving ", log, re.MULTILINE)
    assert "private" not in log
    assert "Traceback" not in log


def test_a_killed_program_comes_back(up: Up) -> None:
    serving = [
        process
        for process in up.family()
        if "pointsman_workers.app" in " ".join(process.cmdline()) and "worker" in process.cmdline()
    ]
    oldest = min(serving, key=lambda process: process.create_time())
    oldest.kill()
    eventually(
        lambda: up.run("classify", "hi", "--timeout", "5")[0] == 0, "a worker serves again", DEADLINE_S
    )


def test_a_second_one_in_the_same_folder_is_refused(up: Up) -> None:
    code, _, err = up.run("up", f"--redis-port={embedded_redis.free_port()}", "--no-flower")
    assert code == 4
    assert "Traceback" not in err


@pytest.mark.parametrize("option", ["--redis-port", "--flower-port"])
def test_a_port_that_is_taken_is_named_with_the_option_that_changes_it(tmp_path: Path, option: str) -> None:
    furnish(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        other = {"--redis-port": "--flower-port", "--flower-port": "--redis-port"}[option]
        done = subprocess.run(
            [POINTSMAN, "up", f"{option}={port}", f"{other}={embedded_redis.free_port()}"],
            cwd=tmp_path,
            env=environ(),
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
    assert done.returncode == 3
    assert str(port) in done.stderr
    assert option in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ending_it_leaves_no_process_behind(tmp_path: Path, ending: signal.Signals) -> None:
    up = Up(furnish(tmp_path))
    family = up.family()
    assert len(family) >= 6
    up.process.send_signal(ending)
    code = up.process.wait(DEADLINE_S)
    assert code == (-signal.SIGKILL if ending is signal.SIGKILL else 0), "".join(up.lines)
    eventually(lambda: not any(process.is_running() for process in family), "all processes have ended")


def test_without_anything_running_the_commands_say_how_to_start(tmp_path: Path) -> None:
    for arguments in (["classify", "hi"], ["train", "base"], ["models", "list"], ["doctor"]):
        done = subprocess.run(
            [POINTSMAN, *arguments],
            cwd=tmp_path,
            env={**environ(), "POINTSMAN_REDIS_URL": "redis://127.0.0.1:1/0"},
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == 4
        assert "pointsman up" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def _get(port: int, path: str) -> str:
    with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        body: bytes = answer.read()
    return body.decode()
