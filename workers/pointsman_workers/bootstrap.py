"""The composition root: the one place where an application gets its parts and its rooms.

Nothing is built at import. A worker's parent loads the champions before it forks, so that its children share the memory;
connections and threads do not cross a fork, so each process builds its own.
"""

import contextlib
import gc
import importlib
import os
import socket
import threading
from collections.abc import Iterable
from functools import partial
from typing import Any, Final, cast

from celery import signals

from pointsman_models.data import tiers
from pointsman_models.registry.versions import Registry
from pointsman_shared import names
from pointsman_shared.broker import config as broker_config
from pointsman_shared.settings import Settings
from pointsman_shared.store import heartbeat
from pointsman_shared.store.connection import UNAVAILABLE, Store
from pointsman_shared.store.keys import Keys
from pointsman_workers.delivery import channel, consumer, reconciler
from pointsman_workers.delivery.in_flight import InFlight
from pointsman_workers.delivery.ledger import Ledger
from pointsman_workers.delivery.task import Limits, WorkerApp, serving_limits, training_limits
from pointsman_workers.delivery.wiring import Wiring
from pointsman_workers.flags.configcat import ConfigCatFlags
from pointsman_workers.flags.configcat_poller import FlagPoller
from pointsman_workers.flags.sources import ConfigSource, FileSource, StoreSource
from pointsman_workers.process import celery_config, shutdown
from pointsman_workers.process.declared import DeclaredTiers
from pointsman_workers.process.heartbeat import BEAT_S, Heartbeat, end_this_process
from pointsman_workers.process.loaded_models import LoadedModels
from pointsman_workers.process.pauses import TICK_S, Pauses
from pointsman_workers.process.per_process import PerProcess
from pointsman_workers.process.periodic import Periodic
from pointsman_workers.process.refresh import REFRESH_S, Refresh
from pointsman_workers.process.watched_registry import WatchedRegistry, tell
from pointsman_workers.training import schedule
from pointsman_workers.training.notifications import Notifications

# A room is taken out of an application by deleting its name here; the room itself may then be deleted, too.
SERVING_ROOMS: Final = ("serving", "registry", "shadow")
TRAINING_ROOMS: Final = ("training", "registry", "shadow")
# How long a promotion that failed, or a flag configuration that was refused, is remembered, so that people are notified of it once.
REFUSED_TTL_S: Final = 86_400


def serving_app(settings: Settings) -> WorkerApp:
    """Build the application of a serving worker."""
    parts = ServingParts(settings)
    limits = serving_limits(settings)
    wiring = _wire(settings, list(names.SERVING_QUEUES), SERVING_ROOMS, parts, limits)
    schedule.configure(wiring.app, settings)
    _connect(signals.worker_init, lambda **_: parts.load())
    _connect(
        signals.worker_ready, lambda sender, **_: _start_parent(wiring, sender, limits.hard_s, looks=True)
    )
    _connect(signals.worker_process_init, lambda **_: _start_child(wiring, parts))
    _connect(signals.worker_process_shutdown, lambda **_: parts.close())
    _connect(signals.worker_shutdown, lambda **_: _stop_parent(wiring))
    return wiring.app


def training_app(settings: Settings) -> WorkerApp:
    """Build the application of a trainer, whose messages may stay unacknowledged much longer.

    Every consumer of the Redis transport restores what any worker left unacknowledged for the consumer's visibility
    timeout, so a trainer notes its messages under keys of its own: a serving worker must not restart a long training.
    """
    limits = training_limits(settings)
    parts = ServingParts(settings)
    wiring = _wire(settings, [names.TRAIN_QUEUE], TRAINING_ROOMS, parts, limits)
    _connect(signals.worker_init, lambda **_: parts.check())
    _connect(signals.worker_process_init, lambda **_: wiring.app.pauses())
    _connect(signals.worker_process_shutdown, lambda **_: parts.close())
    wiring.app.conf.broker_transport_options |= broker_config.unacked_options(
        wiring.app.keys.train_unacked, settings.train_visibility_timeout_s
    )
    _connect(
        signals.worker_ready, lambda sender, **_: _start_parent(wiring, sender, limits.hard_s, looks=False)
    )
    _connect(signals.worker_shutdown, lambda **_: _stop_parent(wiring))
    return wiring.app


class ServingParts:
    """What serving takes: the models and the flags of each process, and the parent's part in them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._inherited: LoadedModels | None = None
        self._poller: FlagPoller | None = None
        self.store = PerProcess(partial(Store.connect_patiently, settings))
        self.registry = PerProcess(
            lambda: Registry(settings.registry_url, on_change=partial(tell, self.store()))
        )
        self.watched = PerProcess(lambda: WatchedRegistry(self.registry(), self.store))
        self.tiers = PerProcess(partial(DeclaredTiers, settings.data_dir / tiers.FILE_NAME))
        self.notify = Notifications(
            settings.notice_urls.get_secret_value().split() if settings.notice_urls else ()
        )
        self.process = PerProcess(self._build)
        self.problems: list[Any] = []

    def check(self) -> None:
        """End the worker if its registry or its Redis can never be used; a Redis that is away may come."""
        with celery_config.explained(), contextlib.suppress(*UNAVAILABLE):
            self.registry()
            self.store().require_one_server()

    def load(self) -> None:
        """Load the champions before the fork, and start polling ConfigCat."""
        self.check()
        self._inherited = LoadedModels(self.registry(), self.tiers())
        self._inherited.refresh()
        # Objects that the collector never touches keep their pages shared.
        gc.collect()
        gc.freeze()
        if self._settings.configcat_sdk_key is not None:
            self._poller = FlagPoller(self._settings, self.store())
            self._poller.start()

    def stop(self) -> None:
        """Stop polling ConfigCat."""
        if self._poller is not None:
            self._poller.close()

    def close(self) -> None:
        """Stop this process's thread and withdraw its report."""
        if self.process.is_built:
            self.process().close()

    def _build(self) -> "Process":
        models = LoadedModels(
            self.watched(), self.tiers(), inherited=self._inherited, on_refused=self._report_refusal
        )
        models.refresh()
        flags = ConfigCatFlags(self._source(), on_refusal=self._report_flags)
        return Process(models, self.tiers(), flags, self.store(), self.problems)

    def _source(self) -> ConfigSource:
        if self._settings.configcat_sdk_key is None:
            return FileSource(self._settings.flags_file)
        return StoreSource(self.store(), self.store().keys.flag_config)

    def _report_flags(self, why: str | None) -> None:
        """Notify people of a flag configuration that is refused; of all processes, the first one does."""
        store, key = self.store(), self.store().keys.flags_refused
        with contextlib.suppress(*UNAVAILABLE):
            if why is None:
                store.delete(key)
            elif store.set(key, why, ex=REFUSED_TTL_S, get=True) != why.encode():
                text = f"{why}; the last good configuration goes on serving"
                self.notify.notify("flags refused", None, None, text)

    def _report_refusal(self, tier: str, version: int, why: str) -> None:
        if self.store().set(self.store().keys.refused(tier, version), "1", nx=True, ex=REFUSED_TTL_S):
            self.notify.notify("swap failed", tier, version, why)


class Process:
    """The parts of one serving process."""

    def __init__(
        self,
        models: LoadedModels,
        tiers: DeclaredTiers,
        flags: ConfigCatFlags,
        store: Store,
        problems: Iterable[Any],
    ) -> None:
        self.models = models
        self.flags = flags
        self._refresh = Refresh(models, tiers, store, flags.state, tuple(problems))
        self._thread = Periodic("refreshing models", self._refresh.step, REFRESH_S, at_once=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread, withdraw the report."""
        self._thread.stop()
        self.flags.close()
        # If Redis is away, the report expires.
        with contextlib.suppress(*UNAVAILABLE):
            self._refresh.withdraw()


def _wire(
    settings: Settings, queues: list[str], rooms: Iterable[str], parts: ServingParts, limits: Limits
) -> Wiring:
    app = cast("WorkerApp", broker_config.make_app(settings, WorkerApp))
    app.keys = Keys(settings.namespace)
    wiring = Wiring(
        app=app,
        settings=settings,
        queues=queues,
        store=parts.store,
        registry=parts.registry,
        watched=parts.watched,
        tiers=parts.tiers,
        models=PerProcess(lambda: parts.process().models),
        flags=PerProcess(lambda: parts.process().flags),
        notify=parts.notify.notify,
        problems=parts.problems,
        when_stopping=[parts.stop],
    )
    app.pauses = PerProcess(_watch_for_pauses)
    app.ledger = PerProcess(lambda: Ledger(parts.store(), settings, extension=wiring.extension))
    app.in_flight = PerProcess(lambda: InFlight.open(parts.store(), settings))
    # A task reads its limits, and when it is acknowledged, from the settings, once, when it is made.
    app.conf.update(
        celery_config.worker_configuration(transport=channel.TRANSPORT, consumer=consumer.WatchfulConsumer)
        | {"task_soft_time_limit": limits.soft_s, "task_time_limit": limits.hard_s}
    )
    app.intake = channel.Intake(app.tasks, app.in_flight, app.ledger)
    for room in rooms:
        importlib.import_module(f"pointsman_workers.{room}.task").install(wiring)
    app.conf.task_queues = celery_config.queues_named(map(app.keys.queue, queues))
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, "intake": app.intake}
    celery_config.quieten()
    return wiring


def _watch_for_pauses() -> Pauses:
    """Start noticing that this process stands still."""
    pauses = Pauses()
    Periodic("looking for pauses", pauses.tick, TICK_S).start()
    return pauses


def _start_parent(wiring: Wiring, worker: Any, limit_s: float, *, looks: bool) -> None:  # noqa: ANN401  Celery's worker
    """Start the threads of a worker's parent, when it is ready."""
    node, in_flight = worker.hostname, wiring.app.in_flight()
    wiring.app.pauses()
    beat = Heartbeat(lambda at: heartbeat.beat(in_flight.store, node, at), consumer.heard_at(limit_s))
    _start(wiring, Periodic("writing heartbeats", beat.step, BEAT_S))
    if looks:
        owner = f"{socket.gethostname()}:{os.getpid()}"
        search = reconciler.Reconciler(
            in_flight,
            wiring.settings,
            owner,
            lambda seconds: thread.wait(seconds),  # noqa: PLW0108  it is made below
        )
        thread = Periodic("looking for lost messages", search.step, reconciler.INTERVAL_S)
        _start(wiring, thread)
    for start in wiring.when_ready:
        start(worker)
    shutdown.leave_in_time(end_this_process)


def _start_child(wiring: Wiring, parts: ServingParts) -> None:
    """Have a child load its models meanwhile, for which its first message waits: one that is slow to say that it is up is killed."""
    wiring.app.pauses()
    threading.Thread(target=parts.process, name="pointsman: first models", daemon=True).start()


def _start(wiring: Wiring, thread: Periodic) -> None:
    wiring.when_stopping.append(thread.stop)
    thread.start()


def _stop_parent(wiring: Wiring) -> None:
    for stop in reversed(wiring.when_stopping):
        stop()


def _connect(signal: Any, handler: Any) -> None:  # noqa: ANN401  Celery ships no types for signals
    # Celery keeps weak references, which would drop a lambda.
    signal.connect(handler, weak=False)
