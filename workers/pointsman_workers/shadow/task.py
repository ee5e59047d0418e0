"""The tasks of shadowing, and what of a served message is to be shadowed."""

import logging
from typing import Any

import orjson
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded

from pointsman_shared import names
from pointsman_shared.settings import Settings
from pointsman_shared.wire import jobs
from pointsman_shared.wire import shadow as shadow_messages
from pointsman_workers import bootstrap
from pointsman_workers.delivery.task import LedgerTask
from pointsman_workers.shadow import sampling
from pointsman_workers.shadow.backlog import MIB, StoreUnavailableError, Wish

logger = logging.getLogger(__name__)

# A hung candidate is ended with its process.
HARD_LIMIT_FACTOR = 3
# A call that nobody takes so long is made again.
CALL_EXPIRES_S = 10


def wish(process: bootstrap.Process, request: jobs.ClassifyRequest, message_id: str) -> Wish | None:
    """Say what of a message is to be shadowed. Never raises: users want their outcome, whatever this is about."""
    try:
        places = sampling.sample(request, message_id, process.flags)
        if not places:
            return None
        settings = bootstrap.settings()
        return Wish(
            texts=len(places),
            places=None if len(places) == len(request.texts) else places,
            shed=process.comparisons.pressure(),
            # With another broker, the ledger has no messages.
            request=orjson.dumps(request.model_dump()) if settings.broker_url else b"",
            limit_bytes=settings.shadow_max_mib * MIB,
        )
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:
        logger.warning("a served message is not shadowed: %s", type(error).__name__)
        return None


def call(app: Celery, brief: bool) -> None:
    """Call for shadow work, for one part of it if `brief`. A call that gets lost is made again: nothing is kept of it."""
    app.send_task(
        names.SHADOW_TASK,
        args=(brief,),
        queue=names.SHADOW_QUEUE,
        expires=CALL_EXPIRES_S,
        ignore_result=True,
        retry=False,
    )


def register(app: Celery, settings: Settings) -> None:
    """Give an application the tasks of shadowing."""

    @app.task(
        shared=False,
        name=names.SHADOW_TASK,
        soft_time_limit=settings.shadow_time_limit_s,
        time_limit=HARD_LIMIT_FACTOR * settings.shadow_time_limit_s,
        acks_late=False,
        ignore_result=True,
        store_errors_even_if_ignored=False,
        throws=(StoreUnavailableError,),
    )
    def shadow(brief: bool = False) -> int:
        return bootstrap.process().shadowing.work(yields=serves(app), brief=brief is True)

    @app.task(base=LedgerTask, name=names.SHADOW_QUERY_TASK, shared=False)
    def report(query: Any) -> Any:  # noqa: ANN401  off the wire
        return bootstrap.process().reports.answer(shadow_messages.Query.parse(query))

    @app.task(base=LedgerTask, name=names.SHADOW_COMPARE_TASK, shared=False)
    def compare(request: Any) -> dict[str, Any]:  # noqa: ANN401  off the wire
        return bootstrap.process().reports.classify(shadow_messages.CompareRequest.parse(request))


def serves(app: Celery) -> bool:
    """Say whether the worker that runs this serves users, too."""
    return any(queue in app.amqp.queues.consume_from for queue in names.SERVING_QUEUES)


def shadows(app: Celery) -> bool:
    """Say whether the worker that runs this does shadow work."""
    return names.SHADOW_QUEUE in app.amqp.queues.consume_from
