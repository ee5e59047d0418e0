"""The stage: a real Redis behind a proxy, a real deployment of processes, and the faults that can be done to them."""

import contextlib
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from pydantic import SecretStr

from pointsman_models.registry import Registry
from pointsman_producer import launcher, supervisor
from pointsman_producer.supervisor import Program
from pointsman_shared import names
from pointsman_shared.settings import Settings
from tests.chaos.proxy import Proxy
from tests.support import flag_config, running, tiny
from tests.support.redis_server import RedisServer

ROOT = Path(__file__).parents[2]
OURS, PLAIN, LATE = "ours", "plain", "late"
# A launcher leaves a program that keeps ending alone for up to half a minute; sixty kills would take an hour.
LONGEST_DELAY_S = 1.0


class FaultyDeployment(launcher.Deployment):
    """The launcher's deployment, whose serving worker has faults built in, or is a plain Celery worker."""

    def __init__(self, *args: object, contestant: str, environ: dict[str, str], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # passed on
        self._contestant = contestant
        self._environ = environ

    def programs(self) -> list[Program]:
        """Give the programs, with another application for the serving worker."""
        app = "tests.chaos.app" if self._contestant == OURS else "tests.chaos.plain"
        return [
            Program(
                name=program.name,
                command=[app if part == launcher.APP else part for part in program.command],
                environ={**program.environ, **self._environ, "PYTHONPATH": _python_path()},
            )
            for program in super().programs()
            if self._contestant == OURS or program.name == "serving"
        ]


def _python_path() -> str:
    return os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What runs, and what can be done to it."""

    redis: RedisServer
    proxy: Proxy
    deployment: FaultyDeployment
    registry: Registry
    settings: Settings
    log: list[str]
    starts_file: Path
    random: random.Random
    done: dict[str, int] = field(default_factory=dict)

    def kill_child(self) -> None:
        """Kill a process of the pool."""
        parent = self.deployment.pids().get("serving")
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            children = psutil.Process(parent).children() if parent else []
            if children:
                os.kill(self.random.choice(children).pid, signal.SIGKILL)

    def kill_worker(self) -> None:
        """Kill the whole worker."""
        self._signal("serving", signal.SIGKILL)

    def stop_worker(self) -> None:
        """Ask the worker to end; the launcher starts it again."""
        self._signal("serving", signal.SIGTERM)

    def kill_trainer(self) -> None:
        """Kill the trainer."""
        self._signal("trainer", signal.SIGKILL)

    def kill_redis(self) -> None:
        """Kill Redis and have it back after a moment."""
        self.redis.kill()
        time.sleep(self.random.uniform(0.1, 1.0))
        self.redis.restart()

    def pause_redis(self) -> None:
        """Have Redis answer nothing for a moment."""
        self.redis.pause()
        time.sleep(self.random.uniform(0.5, 3.0))
        self.redis.resume()

    def reset_connections(self) -> None:
        """Reset the workers' connections."""
        self.proxy.reset()

    def swallow(self) -> None:
        """Have the network swallow everything for a while."""
        self.proxy.swallow()
        time.sleep(self.random.uniform(2.0, 6.0))
        self.proxy.heal()

    def delay(self) -> None:
        """Have everything take longer for a while."""
        self.proxy.delay_s = 0.05
        time.sleep(1.0)
        self.proxy.delay_s = 0.0

    def _signal(self, name: str, number: signal.Signals) -> None:
        pid = self.deployment.pids().get(name)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def fault(self, name: str) -> None:
        """Do one fault, and count it."""
        fault: Callable[[], None] = getattr(self, name)
        fault()
        self.done[name] = self.done.get(name, 0) + 1


@contextlib.contextmanager
def stage(
    folder: Path, *, contestant: str = OURS, seed: int = 0, workers: int = 2, pause_s: float = 0.05
) -> Iterator[Stage]:
    """Set the stage; the workers reach Redis through the proxy."""
    log: list[str] = []
    starts_file = folder / "starts"
    before, supervisor.LONGEST_DELAY_S = supervisor.LONGEST_DELAY_S, LONGEST_DELAY_S
    try:
        with RedisServer.start(appendonly=True, appendfsync="everysec") as redis, Proxy(redis.port) as proxy:
            settings = _settings(folder, redis)
            registry = Registry(settings.registry_url)
            for tier, intents in ((names.BASE_TIER, tiny.BASE_INTENTS), (names.PRO_TIER, tiny.PRO_INTENTS)):
                registry.promote(tier, running.keep(registry, tier, intents), "chaos", "to have one")
            running.write_flags(settings.flags_file, flag_config.plan_flag(names.TIER_FLAG, "pro"))
            with FaultyDeployment(
                settings.model_copy(update={"redis_url": SecretStr(proxy.url)}),
                contestant=contestant,
                environ={
                    "CHAOS_PAUSE_S": str(pause_s),
                    "CHAOS_STARTS_FILE": str(starts_file),
                    **({"CHAOS_LATE": "1"} if contestant == LATE else {}),
                },
                workers=workers,
                redis_port=None,
                beat=False,
                state_dir=folder / "state",
                say=lambda name, line: log.append(f"{time.time():.3f} {name} {line}"),
            ) as deployment:
                if contestant == OURS:
                    deployment.wait_ready()
                else:
                    time.sleep(5)
                yield Stage(
                    redis=redis,
                    proxy=proxy,
                    deployment=deployment,
                    registry=registry,
                    settings=settings,
                    log=log,
                    starts_file=starts_file,
                    random=random.Random(seed),
                )
    finally:
        supervisor.LONGEST_DELAY_S = before


def _settings(folder: Path, redis: RedisServer) -> Settings:
    return Settings.model_validate(
        {
            "redis_url": redis.url,
            "registry_url": str(folder / "registry"),
            "data_dir": running.DATA,
            "flags_file": folder / "flags.json",
            # So that what a killed worker had taken is waited for seconds, not a minute.
            "visibility_timeout_s": 10,
            "reconcile_interval_s": 2,
        }
    )


def script(stage: Stage, faults: dict[str, int], *, gap_s: float, over: threading.Event) -> threading.Thread:
    """Do faults in an order the seed decides, in a thread; `over` is set when all were done."""
    order = [name for name, count in faults.items() for _ in range(count)]
    stage.random.shuffle(order)

    def run() -> None:
        for name in order:
            time.sleep(stage.random.uniform(0.5, 1.5) * gap_s)
            try:
                stage.fault(name)
            except Exception as error:
                print(f"fault {name}: {error!r}", file=sys.stderr)
        over.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
