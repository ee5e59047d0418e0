"""The composition root: the one place where a process gets its parts.

Nothing is built at import. A worker's parent loads the tiers before it forks, so that its children share the memory;
what may not cross a fork (connections, threads, the flag client) each process builds for itself, once.
"""

import contextlib
import functools
import gc
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

from pointsman_models.data import tiers
from pointsman_models.registry.versions import Registry
from pointsman_shared import errors
from pointsman_shared.settings import Settings
from pointsman_shared.store import keys
from pointsman_workers.delivery.ledger import RedisLedger
from pointsman_workers.delivery.open_messages import OpenMessages
from pointsman_workers.delivery.reconciler import Reconciler
from pointsman_workers.flags.configcat import ConfigCatFlags, FlagPoller
from pointsman_workers.flags.sources import ConfigSource, FileSource, StoreSource
from pointsman_workers.process.heartbeat import Pulse
from pointsman_workers.process.refresh import Upkeep
from pointsman_workers.registry.commands import Library
from pointsman_workers.serving.loaded_models import Residents
from pointsman_workers.shadow import redaction
from pointsman_workers.shadow.backlog import Waiting
from pointsman_workers.shadow.candidates import Candidates
from pointsman_workers.shadow.promotion_advice import ShadowAdvisor
from pointsman_workers.shadow.queries import Reports
from pointsman_workers.shadow.runner import Shadowing
from pointsman_workers.shadow.scheduler import Activity, Caller
from pointsman_workers.shadow.store import Comparisons
from pointsman_workers.training.notifications import Notices
from pointsman_workers.training.run import Retraining
from pointsman_workers.training.sources import Annotations, Feed, Labels
from pointsman_workers.training.training_book import RedisTrainingBook

# After this long, a process that newly meets a version that it cannot load tells people again.
REFUSAL_TTL_S = 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """The parts of one serving process."""

    ledger: RedisLedger
    flags: ConfigCatFlags
    residents: Residents
    upkeep: Upkeep
    comparisons: Comparisons
    shadowing: Shadowing
    reports: Reports

    def close(self) -> None:
        """Stop the thread, say goodbye."""
        self.upkeep.stop()
        self.flags.close()
        # What it said of itself expires by itself, if Redis is away.
        with contextlib.suppress(errors.RetryableError):
            self.ledger.forget_process(socket.gethostname(), os.getpid())


# What a parent loaded; its children find it here after the fork.
_inherited: Residents | None = None


@functools.cache
def settings() -> Settings:
    """Read the settings once."""
    return Settings.from_env()


def declared_tiers() -> dict[str, tiers.Tier]:
    """Read which tiers there are."""
    return tiers.load(settings().data_dir / "tiers.toml")


def load_before_fork() -> None:
    """Load every tier's champion, then keep the collector away from it, so that its pages stay shared."""
    global _inherited  # noqa: PLW0603  a fork hands over nothing but what the process already holds
    _inherited = Residents(Registry(settings().registry_url), declared_tiers())
    _inherited.refresh()
    gc.collect()
    gc.freeze()


@functools.cache
def flag_poller() -> FlagPoller:
    """Give the one client that asks ConfigCat for configurations, in a worker's parent."""
    return FlagPoller(settings(), ledger())


def start_flag_poller() -> None:
    """Start asking ConfigCat; without an SDK key a file serves, and nobody is asked."""
    if settings().configcat_sdk_key is not None:
        flag_poller().start()


def stop_flag_poller() -> None:
    """Stop asking ConfigCat."""
    if settings().configcat_sdk_key is not None:
        flag_poller().close()


@functools.cache
def open_messages() -> OpenMessages:
    """Give a worker's parent its connection to the messages under way."""
    return OpenMessages.connect(settings())


@functools.cache
def reconciler() -> Reconciler:
    """Give the thread that looks for lost messages, in a worker's parent."""
    return Reconciler(open_messages(), settings(), f"{socket.gethostname()}:{os.getpid()}")


def start_reconciler() -> None:
    """Look for lost messages, where the queues are in the Redis that holds the ledger."""
    if settings().broker_url is None:
        reconciler().start()


def stop_reconciler() -> None:
    """Leave looking to another worker."""
    if settings().broker_url is None:
        reconciler().stop()


@functools.cache
def pulse(node: str, heard_at: Callable[[], float]) -> Pulse:
    """Give the thread that says that this worker serves its queues."""
    return Pulse(node, open_messages(), heard_at)


def start_pulse(node: str, heard_at: Callable[[], float]) -> None:
    """Say that this worker serves its queues, where the queues are in the Redis of the settings."""
    if settings().broker_url is None:
        pulse(node, heard_at).start()


@functools.cache
def start_shadow(
    call: Callable[[bool], object], activity: Callable[[], Activity], *, yields: bool, most: int
) -> None:
    """Call for shadow work when there is some and this worker has time for it. Begins once, however often it is asked."""
    Caller(Waiting.connect(settings()), call, activity, yields=yields, most=most).start()


def process() -> Process:
    """Give this process its parts, building them at the first call after a fork."""
    return _process_of(os.getpid())


def ledger() -> RedisLedger:
    """Give this process its connection to the ledger."""
    return _ledger_of(os.getpid())


def library() -> Library:
    """Give the registry, as seen from the queue."""
    registry = Registry(settings().registry_url)
    return Library(registry, declared_tiers(), notices(), feeds(), shadow_advisor())


def trainer() -> Retraining:
    """Give the training side."""
    return Retraining(
        Registry(settings().registry_url),
        declared_tiers(),
        book=training_book(),
        notices=notices(),
        feeds=feeds(),
        shadow=shadow_advisor(),
    )


def shadow_advisor() -> ShadowAdvisor:
    """Give who knows the shadow's verdicts."""
    return _shadow_advisor_of(os.getpid())


def training_book() -> RedisTrainingBook:
    """Give this process its connection to the book of trainings."""
    return _training_book_of(os.getpid())


@functools.cache
def notices() -> Notices:
    """Give who tells people."""
    urls = settings().notice_urls
    return Notices(urls.get_secret_value().split() if urls else ())


def feeds() -> list[Feed]:
    """Give where labelled rows come from beside the tiers' files."""
    annotations = settings().annotations
    place = annotations.get_secret_value().strip() if annotations else ""
    fetched = [Annotations(place)] if place else []
    return [Labels(training_book()), *fetched]


@functools.cache
def _shadow_advisor_of(_pid: int) -> ShadowAdvisor:
    registry = Registry(settings().registry_url)
    # It serves nothing and loads nothing: it reads what was counted.
    candidates = Candidates(registry, Residents(registry, ()))
    return ShadowAdvisor(Reports(Comparisons.connect(settings()), candidates))


@functools.cache
def _training_book_of(_pid: int) -> RedisTrainingBook:
    return RedisTrainingBook.connect(settings())


def _tell_of_refusal(tier: str, version: int, why: str) -> None:
    # Every process of every machine finds out; the first one tells people.
    with contextlib.suppress(errors.RetryableError):
        if _ledger_of(os.getpid()).set_first(keys.refusal(tier, version), ttl_s=REFUSAL_TTL_S):
            notices().tell("swap failed", tier, version, why)


@functools.cache
def _ledger_of(_pid: int) -> RedisLedger:
    return RedisLedger.connect(settings())


@functools.lru_cache(maxsize=1)
def _process_of(pid: int) -> Process:
    residents = Residents(
        Registry(settings().registry_url),
        declared_tiers(),
        inherited=_inherited,
        on_refused=_tell_of_refusal,
    )
    residents.refresh()
    flags = ConfigCatFlags(_config_source())
    candidates = Candidates(Registry(settings().registry_url), residents)
    comparisons = Comparisons.connect(settings())
    redactor = redaction.load(settings().shadow_redactor)
    upkeep = Upkeep(residents, flags, _ledger_of(pid), also=candidates)
    upkeep.start()
    return Process(
        ledger=_ledger_of(pid),
        flags=flags,
        residents=residents,
        upkeep=upkeep,
        comparisons=comparisons,
        shadowing=Shadowing(Waiting.connect(settings()), candidates, comparisons, redactor, settings()),
        reports=Reports(comparisons, candidates),
    )


def _config_source() -> ConfigSource:
    if settings().configcat_sdk_key is None:
        return FileSource(settings().flags_file)
    return StoreSource(ledger())
