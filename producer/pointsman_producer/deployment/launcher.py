"""The local deployment: which programs it starts, and when it is ready."""

import contextlib
import importlib.util
import os
import socket
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from pathlib import Path
from typing import Self

from pydantic import SecretStr

from pointsman_producer.client import single_try
from pointsman_producer.deployment import embedded_redis
from pointsman_producer.deployment import state as local_state
from pointsman_producer.deployment.supervisor import Keeper, Program, Say, Supervisor
from pointsman_shared import errors
from pointsman_shared.broker import config as broker_config
from pointsman_shared.settings import Settings
from pointsman_shared.store import connection, heartbeat
from pointsman_shared.store.connection import Store

DEFAULT_WORKERS = 2
DEFAULT_FLOWER_PORT = 5555
# Flower holds this many tasks in memory.
FLOWER_TASKS = 10_000
READY_TIMEOUT_S = 90.0
PING_TIMEOUT_S = 1.0
# A program that ended this often before everything was ready keeps ending.
HOPELESS_RESTARTS = 3

# The script, not `-m celery`: on SIGHUP a worker starts itself again by its file's name.
CELERY = os.path.join(sysconfig.get_path("scripts"), "celery")
WORKERS = ("serving", "trainer")
APP = "pointsman_workers.app"
TRAINER_APP = "pointsman_workers.trainer"
WORKER_PACKAGES = ("configcatclient", "fsspec", "pointsman_workers", "sklearn", "yaml")
# On SIGTERM, a worker then finishes its messages within its soft shutdown timeout.
SOFT_SHUTDOWN = {"REMAP_SIGTERM": "SIGQUIT"}
# In a container everything runs as root, and Celery warns of it in five lines per worker.
QUIET_ROOT = "ignore:You're running the worker with superuser privileges"


@dataclass(eq=False)
class Deployment:
    """A whole deployment on this machine, as a context manager; `say` gets every line of every program.

    Without a `redis_port` it uses the Redis of the settings, and without a `flower_port` it starts no Flower.
    """

    settings: Settings
    _: KW_ONLY
    say: Say
    workers: int = DEFAULT_WORKERS
    redis_port: int | None = embedded_redis.DEFAULT_PORT
    flower_port: int | None = None
    beat: bool = True
    state_dir: Path = local_state.STATE_DIR

    def __post_init__(self) -> None:
        if self.redis_port is not None:
            # Other users of this machine reach its port, too.
            self._password = embedded_redis.password(self._redis_folder)
            url = SecretStr(embedded_redis.url(self.redis_port, self._password))
            self.settings = self.settings.model_copy(update={"redis_url": url})
        self._supervisor: Supervisor | None = None
        self._held = contextlib.ExitStack()

    @property
    def flower_url(self) -> str | None:
        """The URL of Flower, if it is started."""
        return f"http://{embedded_redis.HOST}:{self.flower_port}/" if self.flower_port is not None else None

    @property
    def _redis_folder(self) -> Path:
        return self.state_dir / "redis"

    @property
    def keepers(self) -> Sequence[Keeper]:
        """The programs that are kept running."""
        return self._supervisor.keepers if self._supervisor is not None else ()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start all programs, after a check of everything that can be checked before the first one starts."""
        with contextlib.ExitStack() as held:
            self._check()
            held.enter_context(local_state.claim(self.state_dir))
            self._check_ports()
            store = held.enter_context(single_try.connect(self.settings))
            supervisor = self._supervisor = Supervisor(self.say)
            held.callback(supervisor.stop)
            if self.redis_port is not None:
                self._start_redis(supervisor, self.redis_port)
            for program in self.programs():
                if program.name in WORKERS:
                    supervisor.start(program, partial(is_well, store, node(program.name)))
                else:
                    supervisor.start(program)
            local_state.announce(self.state_dir, self.settings, is_ours=self.redis_port is not None)
            self._held = held.pop_all()

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until the serving workers and the trainer answer; raise ResultTimeoutError if they do not."""
        deadline = time.monotonic() + timeout_s
        missing = set(map(node, WORKERS))
        with broker_config.make_app(self.settings) as app:
            while missing:
                for keeper in self.keepers:
                    if keeper.refused is not None:
                        raise errors.SettingsError(keeper.refused)
                    if keeper.restarts >= HOPELESS_RESTARTS:
                        msg = f"{keeper.program.name} keeps ending; its lines in the log say why"
                        raise errors.ResultTimeoutError(msg)
                if time.monotonic() > deadline:
                    msg = f"{' and '.join(sorted(missing))} did not answer within {timeout_s:.0f} s; see the log"
                    raise errors.ResultTimeoutError(msg)
                answers = app.control.ping(timeout=PING_TIMEOUT_S) or []
                missing -= {worker for answer in answers for worker in answer}

    def stop(self) -> None:
        """Stop all programs: they get SIGTERM, then SIGKILL after the grace; Redis is the last."""
        self._held.close()

    def kill(self) -> None:
        """Kill all programs now; a `stop` that runs returns soon after."""
        if self._supervisor is not None:
            self._supervisor.kill()

    def pids(self) -> dict[str, int]:
        """Return the running processes by name."""
        return {keeper.program.name: pid for keeper in self.keepers if (pid := keeper.pid) is not None}

    def _check(self) -> None:
        require_data(self.settings)
        require_worker_packages()
        if self.redis_port is not None:
            embedded_redis.find_binary()
        if self.redis_port is not None and self.redis_port == self.flower_port:
            msg = f"port {self.redis_port} cannot be that of Redis and that of Flower"
            raise errors.SettingsError(msg, errors.Remedy.OTHER_FLOWER_PORT)

    def _check_ports(self) -> None:
        if self.redis_port is not None:
            embedded_redis.require_free(
                self.redis_port, needed_by="the embedded Redis", remedy=errors.Remedy.OTHER_REDIS_PORT
            )
        if self.flower_port is not None:
            embedded_redis.require_free(
                self.flower_port, needed_by="Flower", remedy=errors.Remedy.OTHER_FLOWER_PORT
            )

    def _start_redis(self, supervisor: Supervisor, port: int) -> None:
        folder = self._redis_folder
        folder.mkdir(exist_ok=True)
        command = embedded_redis.command(
            embedded_redis.find_binary(), port=port, folder=folder.resolve(), password=self._password
        )
        keeper = supervisor.start(Program(name="redis", command=command, environ=os.environ, stops_last=True))
        embedded_redis.wait_until_it_answers(self.settings, alive=lambda: keeper.alive)

    def programs(self) -> list[Program]:
        """Return the programs that are started beside Redis."""
        worker = ["worker", "--loglevel", "INFO"]
        programs = [
            self._celery(
                "serving", APP, [*worker, "-c", str(self.workers), "-n", node("serving")], SOFT_SHUTDOWN
            ),
            self._celery("trainer", TRAINER_APP, [*worker, "-c", "1", "-n", node("trainer")], SOFT_SHUTDOWN),
        ]
        if self.beat:
            schedule = str(self.state_dir / "celerybeat-schedule")
            programs.append(self._celery("beat", APP, ["beat", "-s", schedule, "--pidfile="]))
        if self.flower_port is not None:
            options = [
                f"--address={embedded_redis.HOST}",
                f"--port={self.flower_port}",
                f"--max_tasks={FLOWER_TASKS}",
            ]
            flower = ["-m", "pointsman_producer.deployment.local_flower"]
            programs.append(
                self._celery("flower", APP, ["flower", "--logging=warning", *options], celery=flower)
            )
        return programs

    def _celery(
        self,
        name: str,
        app: str,
        arguments: list[str],
        environ: Mapping[str, str] | None = None,
        celery: Sequence[str] = (CELERY,),
    ) -> Program:
        return Program(
            name=name,
            command=[sys.executable, *celery, "--quiet", "-A", app, *arguments],
            environ={
                **os.environ,
                **self.settings.environ(),
                "PYTHONUNBUFFERED": "1",
                "PYTHONWARNINGS": ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), QUIET_ROOT))),
                **(environ or {}),
            },
        )


def node(program: str) -> str:
    """Return the name by which a worker answers."""
    return f"{program}@{socket.gethostname()}"


def is_well(store: Store, worker: str) -> bool:
    """Tell whether a worker hears from its queues; while Redis does not answer, the worker is not to blame."""
    try:
        return heartbeat.is_serving(store, worker)
    except connection.UNAVAILABLE:
        return True


def require_data(settings: Settings) -> None:
    """Raise SettingsError if the folder with the tiers and their training data is missing."""
    if not (settings.data_dir / "tiers.toml").is_file():
        msg = (
            f"no tiers.toml in {settings.data_dir}: "
            "run this in a clone of the repository, or set POINTSMAN_DATA_DIR to a folder that has one"
        )
        raise errors.SettingsError(msg)


def require_worker_packages() -> None:
    """Raise SettingsError if packages that the workers import are missing; the producer needs none of them."""
    missing = [package for package in WORKER_PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        msg = f"workers need packages that are not installed ({', '.join(missing)}): pip install 'pointsman[all]'"
        raise errors.SettingsError(msg)


def has_flower() -> bool:
    """Tell whether Flower is installed."""
    return importlib.util.find_spec("flower") is not None
