"""Examine a whole deployment: read each part, in the order in which one needs the other, and check it."""

from collections.abc import Iterator, Mapping

from redis.exceptions import AuthenticationError, ResponseError

from pointsman_producer.client import single_try
from pointsman_producer.diagnostics import checks, probe
from pointsman_producer.diagnostics.findings import Finding, Remedy, problem
from pointsman_shared import errors, names
from pointsman_shared.settings import Settings
from pointsman_shared.store.connection import Store
from pointsman_shared.store.dead_letters import DeadLetters


def examine(settings: Settings, shown_url: str) -> Iterator[Finding]:
    """Examine the deployment of the settings; `shown_url` is the Redis URL without its password."""
    yield checks.versions()
    with single_try.connect(settings) as store:
        try:
            info = probe.server(store)
        except errors.BrokerUnavailableError as error:
            refuses = isinstance(error.__cause__, AuthenticationError | ResponseError)
            what, remedy = (
                ("refuses us", Remedy.CHECK_URL) if refuses else ("does not answer", Remedy.START_REDIS)
            )
            yield problem("redis", f"{what} at {shown_url}: {error.__cause__ or error}", remedy)
            return
        yield from checks.redis(info, shown_url)
        if checks.is_cluster(info):
            return
        yield from checks.queues(probe.queues(store), probe.in_flight(store))
        yield from checks.strays(probe.strays(store))
        letters = DeadLetters(store, ttl_s=settings.dead_letter_ttl_s)
        yield checks.dead_letters(letters.count(), next(letters.find(), None), store.now())
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
    yield from checks.shadow_missed(probe.shadow_counts(store, now), *probe.shadow_uncounted(store))
    yield from checks.shadow_troubles(probe.shadow_troubles(store), now)
