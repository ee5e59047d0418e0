"""What the rooms of one application get, and what they offer each other without knowing each other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pointsman_models.data.dataset import Source
from pointsman_models.promotion.advice import Shadow
from pointsman_models.registry.versions import Registry
from pointsman_shared.settings import Settings
from pointsman_shared.store.connection import Store
from pointsman_shared.wire import jobs
from pointsman_workers.delivery.ledger import NO_EXTENSION
from pointsman_workers.delivery.task import WorkerApp
from pointsman_workers.flags.provider import Provider
from pointsman_workers.process.declared import DeclaredTiers
from pointsman_workers.process.loaded_models import LoadedModels
from pointsman_workers.process.per_process import PerProcess
from pointsman_workers.process.watched_registry import WatchedRegistry

Notify = Callable[..., object]


def _no_extra(request: jobs.ClassifyRequest, message_id: str) -> None:
    """Add nothing to the transaction that stores an outcome."""


def _no_advisor() -> None:
    """Have no advice on promotions."""


@dataclass(slots=True, kw_only=True)
class Wiring:
    """The parts of an application. `bootstrap` makes one, and each room's `install` takes from it and adds to it.

    Attributes:
        app: The application; it holds the ledger.
        settings: The settings.
        queues: The queues that its workers consume.
        store: The connection to Redis of each process.
        registry: The model registry of each process.
        watched: The same, as serving reads it: again only where something changed.
        tiers: The declared tiers of each process.
        models: The classifiers of each serving process.
        flags: The feature flags of each serving process.
        notify: Notifies people: event, tier, version, text, facts.
        extension: Lua for the transaction that closes a message.
        extra: Returns the argument of that extension for a served message, or None.
        advisor: Returns whose verdict a tier's gate may require, or None.
        sources: Returns the labelled rows beside a tier's files; None where trainings are not run.
        problems: Return what is wrong in a serving process, for its report.
        when_ready: Called in the parent, with Celery's worker, when it is ready.
        when_stopping: Called in the parent when it ends.
    """

    app: WorkerApp
    settings: Settings
    queues: list[str]
    store: PerProcess[Store]
    registry: PerProcess[Registry]
    watched: PerProcess[WatchedRegistry]
    tiers: PerProcess[DeclaredTiers]
    models: PerProcess[LoadedModels]
    flags: PerProcess[Provider]
    notify: Notify
    extension: str = NO_EXTENSION
    extra: Callable[[jobs.ClassifyRequest, str], Mapping[str, Any] | None] = _no_extra
    advisor: Callable[[], Shadow | None] = _no_advisor
    sources: Callable[[str], list[Source]] | None = None
    problems: list[Callable[[], list[str]]] = field(default_factory=list)
    when_ready: list[Callable[[Any], object]] = field(default_factory=list)
    when_stopping: list[Callable[[], object]] = field(default_factory=list)
