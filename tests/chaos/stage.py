"""The stage: a real Redis behind a proxy, a real deployment of processes, and the faults that can be done to them."""

import contextlib
import datetime
import os
import random
import re
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from pydantic import SecretStr

from pointsman_models.registry.versions import Registry
from pointsman_producer.client.client import Client
from pointsman_producer.client.handles import MessageHandle
from pointsman_producer.client.users import checked_request
from pointsman_producer.deployment import launcher, supervisor
from pointsman_producer.deployment.supervisor import Program
from pointsman_shared import errors, names
from pointsman_shared.broker import config as broker_config
from pointsman_shared.settings import Settings
from pointsman_shared.store.keys import Keys
from pointsman_shared.wire import jobs
from tests.chaos import plain, poison
from tests.chaos.proxy import Proxy
from tests.support import flag_config, garbage, live_tiers, running, tiny
from tests.support.cdn import Cdn, Fault
from tests.support.deadlines import eventually
from tests.support.redis_server import RedisServer

ROOT = Path(__file__).parents[2]
OURS, PLAIN, LATE = "ours", "plain", "late"
# A launcher leaves a program that keeps ending alone for up to half a minute; sixty kills would take an hour.
LONGEST_DELAY_S = 1.0
# A tier that serves no user is trained meanwhile, so that the answers of the others do not change.
TRAINED_TIER = "spare"
# The application of the suite asks every 5 s.
TRAIN_EVERY = "* * * * *"
PRO_USER = jobs.User(id="pro", custom={"plan": "pro"})
QUEUES = (*names.SERVING_QUEUES, names.SHADOW_QUEUE, names.TRAIN_QUEUE)
# Faults of what deployments share; one of them does them to all.
SHARED = {"kill_redis", "pause_redis", "reset_connections", "swallow", "delay", "fill_redis"}
INTENTS = {"base": tiny.BASE_INTENTS, "pro": tiny.PRO_INTENTS}
# With these models, another deployment's worker would answer wrongly.
OTHER_INTENTS = {"base": tiny.PRO_INTENTS, "pro": tiny.BASE_INTENTS}
PAST = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
FLAGS_DEADLINE_S = 60.0
RESTART_DEADLINE_S = 60.0
IS_READY = re.compile(r"^[0-9.]+ serving .*@\S+ ready\.")
HAS_ENDED = re.compile(r"^[0-9.]+ serving .*starting again")
# What a fault adds to the time in which work is done, roughly.
LASTS_S = {"pause_redis": 1.0, "swallow": 2.0, "delay": 1.0, "fill_redis": 2.0, "pause_worker": 10.0}


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

    def stop_beat(self) -> None:
        """Stop everything that starts by itself."""
        for keeper in self.keepers:
            if keeper.program.name == "beat" and keeper.pid is not None:
                keeper.delay_s = threading.TIMEOUT_MAX
                os.kill(keeper.pid, signal.SIGTERM)


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
    cdn: Cdn
    client: Client
    contestant: str
    done: dict[str, int] = field(default_factory=dict)
    poisoned: list[MessageHandle] = field(default_factory=list)
    garbage: list[str] = field(default_factory=list)
    expired: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    reused: list[MessageHandle] = field(default_factory=list)
    taken_for_another: list[str] = field(default_factory=list)

    def kill_child(self) -> None:
        """Kill a process of the pool."""
        children = self._children()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.random.choice(children), signal.SIGKILL)

    def kill_worker(self) -> None:
        """Kill the whole worker."""
        self._children()
        self._signal("serving", signal.SIGKILL)

    def stop_worker(self) -> None:
        """Ask the worker to end; the launcher starts it again."""
        self._children()
        self._signal("serving", signal.SIGTERM)

    def stop_trainer(self) -> None:
        """Ask the trainer to end; the launcher starts it again."""
        self._signal("trainer", signal.SIGTERM)

    def kill_trainer(self) -> None:
        """Kill the trainer."""
        self._signal("trainer", signal.SIGKILL)

    def kill_beat(self) -> None:
        """Kill beat, which asks for trainings."""
        self._signal("beat", signal.SIGKILL)

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

    def fill_redis(self) -> None:
        """Have Redis reach its `maxmemory`, under `noeviction`, and make room again after a while."""
        with self.redis.client() as redis:
            redis.config_set("maxmemory", redis.info("memory")["used_memory"])
            try:
                time.sleep(self.random.uniform(1.0, 3.0))
            finally:
                redis.config_set("maxmemory", 0)

    def break_flags(self) -> None:
        """Have the flags' CDN fail in one of its ways for a while, during which other faults may come."""
        self.cdn.break_with(self.random.choice(list(Fault)))
        healing = threading.Timer(self.random.uniform(2.0, 5.0), self.cdn.heal)
        healing.daemon = True
        healing.start()

    def submit_poison(self) -> None:
        """Submit a message that kills the worker that takes it."""
        if self.contestant == OURS:
            request = checked_request([poison.TEXT, "hi"], [None, PRO_USER])
            self.poisoned.append(self.client.submit_message(request))
        else:
            with plain.make_app(self.redis.url) as app:
                app.send_task("plain.classify", args=[poison.NUMBER], queue=plain.QUEUE)

    def push_garbage(self) -> None:
        """Push one of each kind of garbage into the queues."""
        queues = self.queues if self.contestant == OURS else [plain.QUEUE]
        with self.redis.client() as redis:
            for kind, make in garbage.KINDS.items():
                redis.lpush(self.random.choice(queues), make())
                self.garbage.append(kind)

    def pause_child(self) -> None:
        """Have a process of the pool stand still, mostly past the time limit of its message."""
        self._pause([self.random.choice(self._children())])

    def pause_worker(self) -> None:
        """Have the whole worker stand still, as on a machine that sleeps."""
        children = self._children()
        self._pause([*children, self.deployment.pids().get("serving", children[0])])

    def send_expired(self) -> None:
        """Send messages whose time to run is over, as another service does with Celery's own option."""
        self.expired.extend(self._send(expires=PAST))

    def send_late(self) -> None:
        """Send messages for later: some wait in a worker, some in Redis."""
        self.late.extend(
            self._send(countdown=self.random.uniform(1.0, 2.5 * self.settings.visibility_timeout_s))
        )

    def reuse_id(self) -> None:
        """Submit another request under an id that is in flight or done."""
        first = self.client.submit_message(checked_request(["hi"], [None]))
        self.reused.append(first)
        if self.random.random() < 1 / 2:
            with contextlib.suppress(errors.ResultTimeoutError):
                first.result(1.0)
        try:
            self.client.submit_message(checked_request(["bye", "bye"], [None, None]), message_id=first.id)
        except errors.ConflictError:
            return
        self.taken_for_another.append(first.id)

    def _pause(self, pids: list[int]) -> None:
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            if number == signal.SIGSTOP:
                time.sleep(self.random.uniform(0.5, 1.6) * self.settings.visibility_timeout_s)

    def _send(self, **options: Any) -> list[str]:
        ids = [str(uuid.UUID(int=self.random.getrandbits(128))) for _ in range(5)]
        with broker_config.make_app(self.settings) as app:
            queue = self.keys.queue(names.BULK_QUEUE)
            for each in ids:
                app.send_task(
                    names.CLASSIFY_TASK, args=({"texts": ["hi"]},), task_id=each, queue=queue, **options
                )
        return ids

    @property
    def keys(self) -> Keys:
        """The names of the deployment in Redis."""
        return Keys(self.settings.namespace)

    @property
    def queues(self) -> list[str]:
        """Its queues."""
        return [self.keys.queue(name) for name in QUEUES]

    def evidence(self) -> list[str]:
        """Return what is left in the ledger, for a person who looks for a fault."""
        keys = self.keys
        with self.redis.client() as redis:
            found = [(raw.decode(), at) for raw, at in redis.zrange(keys.open_index, 0, 9, withscores=True)]
            entries = [(each, at, redis.hgetall(keys.open(each))) for each, at in found]
            deferred = [raw.decode() for raw in redis.zrange(keys.deferred, 0, 9)]
        facts = [
            (each, at, {key: value for key, value in entry.items() if key != b"message"})
            for each, at, entry in entries
        ]
        return [
            f"deferred: {deferred}",
            *(f"open {each}, seen {at:.0f}: {entry}" for each, at, entry in facts),
        ]

    def _children(self) -> list[int]:
        """Give the processes of the pool; one that has just been started is given time to do some work first."""
        deadline = time.monotonic() + RESTART_DEADLINE_S
        waited = False
        while time.monotonic() < deadline:
            with contextlib.suppress(psutil.Error):
                parent = psutil.Process(self.deployment.pids().get("serving", os.getpid()))
                children = [child.pid for child in parent.children()]
                if children and self._is_ready():
                    if not waited:
                        return children
                    time.sleep(self.random.uniform(0.3, 2.0))
                    waited = False
                    continue
            waited = True
            time.sleep(0.05)
        msg = f"no worker within {RESTART_DEADLINE_S} s"
        raise TimeoutError(msg)

    def _is_ready(self) -> bool:
        """Say whether the worker has said that it is, since it last ended."""
        news = (line for line in reversed(self.log) if IS_READY.search(line) or HAS_ENDED.search(line))
        return IS_READY.search(next(news, "")) is not None

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
def ground() -> Iterator[tuple[RedisServer, Proxy]]:
    """Run a Redis, and a proxy in front of it."""
    with (
        RedisServer.start(appendonly=True, appendfsync="everysec") as redis,
        Proxy(redis.port) as proxy,
    ):
        yield redis, proxy


@contextlib.contextmanager
def stage(
    folder: Path,
    shared: tuple[RedisServer, Proxy],
    *,
    contestant: str = OURS,
    seed: int = 0,
    workers: int = 2,
    pause_s: float = 0.05,
    namespace: str = "pointsman",
    intents: Mapping[str, tuple[str, ...]] = INTENTS,
) -> Iterator[Stage]:
    """Set the stage; the workers reach Redis through the proxy."""
    redis, proxy = shared
    log: list[str] = []
    starts_file = folder / "starts"
    before, supervisor.LONGEST_DELAY_S = supervisor.LONGEST_DELAY_S, LONGEST_DELAY_S
    try:
        with Cdn(_flags()) as cdn:
            settings = _settings(folder, redis, cdn, namespace)
            registry = _registry(settings, intents)
            with (
                FaultyDeployment(
                    settings.model_copy(update={"redis_url": SecretStr(proxy.url)}),
                    contestant=contestant,
                    environ={
                        "CHAOS_PAUSE_S": str(pause_s),
                        "CHAOS_STARTS_FILE": str(starts_file),
                        **({"CHAOS_LATE": "1"} if contestant == LATE else {}),
                    },
                    workers=workers,
                    redis_port=None,
                    beat=True,
                    state_dir=folder / "state",
                    say=lambda name, line: log.append(f"{time.time():.3f} {name} {line}"),
                ) as deployment,
                Client(settings=settings) as client,
            ):
                set_up = Stage(
                    redis=redis,
                    proxy=proxy,
                    deployment=deployment,
                    registry=registry,
                    settings=settings,
                    log=log,
                    starts_file=starts_file,
                    random=random.Random(seed),
                    cdn=cdn,
                    client=client,
                    contestant=contestant,
                )
                _wait_ready(set_up)
                yield set_up
    finally:
        supervisor.LONGEST_DELAY_S = before


def _flags() -> dict[str, object]:
    """Make `pro` for its users, and shadow every text."""
    document = flag_config.plan_flag(flag_config.TIER_FLAG, "pro")
    document["f"][names.SHADOW_FLAG] = flag_config.flag(1.0)
    return document


def _registry(settings: Settings, intents_of: Mapping[str, tuple[str, ...]]) -> Registry:
    """Keep a champion of each tier, and a candidate of one."""
    registry = Registry(settings.registry_url)
    for tier, intents in intents_of.items():
        registry.promote(tier, running.keep(registry, tier, intents), "chaos", "to have one")
    candidate = running.keep(registry, "base", intents_of["base"])
    registry.nominate("base", candidate, "chaos", "to compare with")
    return registry


def _wait_ready(set_up: Stage) -> None:
    """Wait until all serve by the flags, and forget what that left behind."""
    if set_up.contestant != OURS:
        time.sleep(5)
        return
    set_up.deployment.wait_ready()

    def all_decide() -> bool:
        handles = [set_up.client.submit("hi", user=PRO_USER) for _ in range(12)]
        return {handle.result(FLAGS_DEADLINE_S).tier for handle in handles} == {"pro"}

    eventually(all_decide, "every process knows the flags", FLAGS_DEADLINE_S)
    set_up.client.shadow.wait_drained(FLAGS_DEADLINE_S)
    with set_up.redis.client() as redis:
        for key in redis.scan_iter(set_up.keys.prefix + "shadow:*"):
            redis.delete(key)


def _settings(folder: Path, redis: RedisServer, cdn: Cdn, namespace: str) -> Settings:
    data = live_tiers.write(folder / "data")
    with (data / "tiers.toml").open("a", encoding="utf-8") as tiers:
        tiers.write(f"\n{live_tiers.table(data, TRAINED_TIER, tiny.BASE_INTENTS)}")
    return Settings.model_validate(
        {
            "redis_url": redis.url,
            "namespace": namespace,
            "registry_url": str(folder / "registry"),
            "data_dir": data,
            "configcat_sdk_key": cdn.sdk_key,
            "configcat_base_url": cdn.url,
            "configcat_poll_interval_s": 1,
            # So that what a killed worker had taken is waited for seconds, not a minute.
            "visibility_timeout_s": 10,
            # The same for a trainer: it is waited for twice as long as a training may take.
            "train_time_limit_s": 30,
            "train_schedule": {TRAINED_TIER: TRAIN_EVERY},
            # Shedding is for a deployment that cannot keep up; here all is to be compared.
            "shadow_max_mib": 1024,
        }
    )


class Script(threading.Thread):
    """Does faults in an order the seed decides, and ends with the last.

    Args:
        stage: Whom to do them to.
        faults: How often each is done.
        gap_s: The pause between two, on average.

    Attributes:
        troubles: Why faults could not be done; each is tried again.
    """

    # How far work may run ahead of the faults, as shares.
    LEAD = 0.1
    TRIES = 3

    def __init__(self, stage: Stage, faults: Mapping[str, int], *, gap_s: float) -> None:
        super().__init__(daemon=True)
        self._stage = stage
        self._gap_s = gap_s
        self._order = [name for name, count in faults.items() for _ in range(count)]
        self._at = 0
        self.troubles: list[str] = []
        stage.random.shuffle(self._order)

    def run(self) -> None:
        """Do them."""
        for self._at, name in enumerate(self._order):  # noqa: B020  read by those who keep pace
            self._do(name)
        self._at = len(self._order)

    def _do(self, name: str) -> None:
        for _ in range(self.TRIES):
            time.sleep(self._stage.random.uniform(0.5, 1.5) * self._gap_s)
            try:
                self._stage.fault(name)
            except Exception as error:  # whatever it is, the others are still to be done
                self.troubles.append(f"fault {name}: {error!r}")
            else:
                return

    def keep_pace(self, share: float) -> None:
        """Wait until a share of the work is due, so that there is work for as long as there are faults."""
        while self._at < (share - self.LEAD) * len(self._order):
            time.sleep(0.02)


def busy_s(faults: Mapping[str, int], *, gap_s: float) -> float:
    """Estimate for how long of a script there are processes that can work."""
    return sum(count * (gap_s + LASTS_S.get(name, 0.0)) for name, count in faults.items())
