"""The tasks of shadowing, and which served messages are kept for it."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from celery import Celery
from celery.exceptions import OperationalError, SoftTimeLimitExceeded
from celery.worker import state

from pointsman_shared import errors, names
from pointsman_shared.store import connection
from pointsman_shared.store.connection import Store
from pointsman_shared.store.labels import Labels
from pointsman_shared.wire import jobs
from pointsman_shared.wire import shadow as wire
from pointsman_workers.delivery import consumer
from pointsman_workers.delivery.task import LedgerTask, WorkerApp
from pointsman_workers.delivery.wiring import Wiring
from pointsman_workers.process.per_process import PerProcess
from pointsman_workers.process.periodic import Periodic
from pointsman_workers.shadow import backlog, offline_compare, redaction, runner, sampling, scheduler
from pointsman_workers.shadow.candidates import Candidates
from pointsman_workers.shadow.promotion_advice import ShadowAdvisor
from pointsman_workers.shadow.queries import Queries
from pointsman_workers.shadow.store import Comparisons

logger = logging.getLogger(__name__)

# A candidate that ignores the soft limit is ended with its process.
HARD_LIMIT_FACTOR: Final = 3
# A request that no worker takes for this long is made again.
REQUEST_EXPIRES_S: Final = 10


class Parts:
    """The shadow's parts in one process."""

    def __init__(self, wiring: Wiring) -> None:
        # Its own connection: users' outcomes must not wait behind shadow work.
        store = Store.connect(wiring.settings)
        self.comparisons = Comparisons(store, wiring.settings)
        self.queries = Queries(self.comparisons, Labels(store, wiring.settings), wiring.tiers)
        self.backlog = backlog.Backlog(store)


def install(wiring: Wiring) -> None:
    """Add shadowing to an application."""
    parts = PerProcess(lambda: Parts(wiring))
    wiring.extension = backlog.KEEP
    wiring.extra = lambda request, message_id: _wish(wiring, parts(), request, message_id)
    wiring.advisor = lambda: ShadowAdvisor(parts().queries)
    wiring.when_ready.append(lambda worker: _start_scheduler(wiring, parts(), worker))
    candidates = PerProcess(lambda: Candidates(wiring.registry(), wiring.models()))
    if not set(names.SERVING_QUEUES).isdisjoint(wiring.queues):
        wiring.queues.append(names.SHADOW_QUEUE)
    _register(wiring, parts, candidates)


def _register(wiring: Wiring, parts: PerProcess[Parts], candidates: PerProcess[Candidates]) -> None:
    app = wiring.app
    redactor = redaction.load(wiring.settings.shadow_redactor)
    work = PerProcess(
        lambda: runner.Runner(parts().backlog, candidates(), parts().comparisons, redactor, wiring.settings)
    )

    @app.task(
        shared=False,
        name=names.SHADOW_TASK,
        soft_time_limit=runner.TIME_LIMIT_S,
        time_limit=HARD_LIMIT_FACTOR * runner.TIME_LIMIT_S,
        acks_late=False,
        ignore_result=True,
        store_errors_even_if_ignored=False,
        throws=(errors.RetryableError,),
    )
    def shadow(brief: bool = False) -> int:
        return work().work(yields=_serves(app), brief=brief is True)

    @app.task(base=LedgerTask, name=names.SHADOW_QUERY_TASK, shared=False)
    def report(query: Any) -> Any:  # noqa: ANN401  off the wire
        return parts().queries.answer(wire.Query.parse(query))

    @app.task(base=LedgerTask, name=names.SHADOW_COMPARE_TASK, shared=False)
    def compare(request: Any) -> dict[str, Any]:  # noqa: ANN401  off the wire
        return offline_compare.classify(candidates(), wire.CompareRequest.parse(request))


def request_work(app: Celery, brief: bool) -> None:
    """Request shadow work, only one part of it if `brief`. A lost request is made again, so nothing is kept of it."""
    try:
        app.send_task(
            names.SHADOW_TASK,
            args=(brief,),
            expires=REQUEST_EXPIRES_S,
            ignore_result=True,
            retry=False,
        )
    except (OperationalError, connection.FAILED, OSError) as error:
        raise connection.explained(error) from error


def _wish(
    wiring: Wiring, parts: Parts, request: jobs.ClassifyRequest, message_id: str
) -> Mapping[str, Any] | None:
    """Return what the ledger keeps of a message for shadowing. Never raises: users want their outcome."""
    try:
        places = sampling.sample(request, message_id, wiring.flags())
        if not places:
            return None
        return backlog.wish(
            wiring.app.keys,
            message_id,
            texts=len(places),
            places=None if len(places) == len(request.texts) else places,
            shed=parts.comparisons.pressure(),
            limit_bytes=wiring.settings.shadow_max_mib * backlog.MIB,
        )
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:
        logger.warning("a served message is not shadowed: %s", type(error).__name__)
        return None


def _start_scheduler(wiring: Wiring, parts: Parts, worker: Any) -> None:  # noqa: ANN401  Celery's worker
    if wiring.app.keys.queue(names.SHADOW_QUEUE) not in wiring.app.amqp.queues.consume_from:
        return
    yields, processes = _serves(wiring.app), worker.controller.concurrency
    caller = scheduler.Scheduler(
        parts.backlog,
        lambda brief: request_work(wiring.app, brief),
        activity,
        yields=yields,
        # A worker that serves users leaves them one of its processes.
        most=max(1, processes - 1) if yields else processes,
    )
    thread = Periodic("requesting shadow work", caller.step, scheduler.IDLE_S)
    wiring.when_stopping.append(thread.stop)
    thread.start()


def activity() -> scheduler.Activity:
    """Return what this worker holds."""
    try:
        held = [request.name for request in list(state.reserved_requests)]
    except RuntimeError:  # the consumer's thread took a message meanwhile
        return scheduler.Activity(serving=1, served=-1, interactive=consumer.interactive, shadowing=0)
    shadowing = held.count(names.SHADOW_TASK)
    served = sum(state.total_count.values()) - state.total_count[names.SHADOW_TASK]
    return scheduler.Activity(
        serving=len(held) - shadowing, served=served, interactive=consumer.interactive, shadowing=shadowing
    )


def _serves(app: WorkerApp) -> bool:
    """Return whether this worker serves users, too."""
    return any(app.keys.queue(queue) in app.amqp.queues.consume_from for queue in names.SERVING_QUEUES)
