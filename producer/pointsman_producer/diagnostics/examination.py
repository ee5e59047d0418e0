"""Examine a whole deployment: read each part, in the order in which one needs the other, and check it."""

from collections.abc import Iterator, Mapping

from pointsman_producer.client import single_try
from pointsman_producer.diagnostics import checks, probe
from pointsman_producer.diagnostics.findings import Finding, Remedy, problem
from pointsman_shared import errors, names
from pointsman_shared.settings import Settings
from pointsman_shared.store.connection import Store


def examine(settings: Settings, shown_url: str) -> Iterator[Finding]:
    """Examine the deployment of the settings; `shown_url` is the Redis URL without its password."""
    yield checks.versions()
    with single_try.connect(settings) as store:
        try:
            info = store.info()
        except errors.BrokerUnavailableError as error:
            detail = f"does not answer at {shown_url}: {error.__cause__ or error}"
            yield problem("redis", detail, Remedy.START_REDIS)
            return
        yield from checks.redis(info, shown_url)
        yield from checks.queues(probe.queues(store), probe.in_flight(store))
        consumers: Mapping[str, set[str]] | None = None
        try:
            consumers = probe.consumers(settings)
            yield from checks.workers(consumers)
        except errors.BrokerUnavailableError as error:
            yield problem("worker", f"no worker can be asked: {error}")
        yield from checks.processes(probe.processes(store), store.now())
        if consumers is not None:
            yield from _shadow(store, settings, consumers)


def _shadow(store: Store, settings: Settings, consumers: Mapping[str, set[str]]) -> Iterator[Finding]:
    now = store.now()
    waiting, oldest_at, used_bytes = probe.shadow_waiting(store)
    yield checks.shadow_queue(
        waiting,
        age_s=now - oldest_at if oldest_at is not None else 0.0,
        mib=(used_bytes / 2**20, settings.shadow_max_mib),
        is_consumed=any(names.SHADOW_QUEUE in queues for queues in consumers.values()),
    )
    yield from checks.shadow_missed(probe.shadow_counts(store, now), probe.shadow_dropped(store))
    yield from checks.shadow_troubles(probe.shadow_troubles(store), now)
