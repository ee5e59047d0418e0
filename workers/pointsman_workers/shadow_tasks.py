"""The tasks of shadowing, and how a served message comes onto the shadow queue."""

import logging
from typing import Any

from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded

from pointsman_shared import errors, jobs, names, shadow_messages
from pointsman_shared.settings import Settings
from pointsman_workers import composition, sampling, shadowing
from pointsman_workers.comparisons import StoreUnavailableError
from pointsman_workers.delivery import LedgerTask
from pointsman_workers.ledger import LedgerUnavailableError

logger = logging.getLogger(__name__)

# A hung candidate is ended with its process, and counted as failed when the message has come back often enough.
HARD_LIMIT_FACTOR = 3


def publish(app: Celery, payload: Any, reply: dict[str, Any]) -> None:  # noqa: ANN401  off the wire
    """Put a served message's sampled texts on the shadow queue. Never raises: the outcome is stored already.

    Args:
        app: The application.
        payload: The request.
        reply: What was served.
    """
    try:
        _publish(app, payload, reply)
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:  # whatever it is, users have their outcome
        logger.warning("a served message could not be shadowed: %s", type(error).__name__)


def _publish(app: Celery, payload: Any, reply: dict[str, Any]) -> None:  # noqa: ANN401  off the wire
    process = composition.process()
    request = jobs.ClassifyRequest.parse(payload)
    places = sampling.sample(request, reply["message_id"], process.flags)
    if not places:
        return
    message = sampling.shadow_message(request, reply, places, composition.settings().shadow_attributes)
    if (reason := process.comparisons.pressure()) is None:
        try:
            _send(app, message)
        except Exception as error:  # the client behind the broker's URL may raise anything
            logger.warning("the shadow queue takes nothing: %s", type(error).__name__)
            reason = "not_published"
    if reason is not None:
        process.shadowing.miss(shadow_messages.Shadowed.parse(message), kind="shed", reason=reason)


def _send(app: Celery, message: dict[str, Any]) -> None:
    app.send_task(
        names.SHADOW_TASK,
        args=(message,),
        task_id=f"shadow-{message['message_id']}",
        queue=names.SHADOW_QUEUE,
        argsrepr=f"({len(message['texts'])} texts)",
        kwargsrepr="{}",
        ignore_result=True,
        retry=False,
    )


class ShadowTask(LedgerTask):
    """A shadow message. However often it ends its process, it is counted as failed, and is nobody's dead letter."""

    abstract = True

    def _check_starts(self, starts: int) -> None:
        """Leave it to `Shadowing`, which counts the texts that get lost this way."""

    def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: object) -> None:  # noqa: ANN401  Celery's hook
        """Give nothing up: past its hard time limit, the message comes back until `Shadowing` counts it as failed."""


def register(app: Celery, settings: Settings) -> None:
    """Give an application the tasks of shadowing."""

    @app.task(
        base=ShadowTask,
        name=names.SHADOW_TASK,
        soft_time_limit=settings.shadow_time_limit_s,
        time_limit=HARD_LIMIT_FACTOR * settings.shadow_time_limit_s,
        acks_on_failure_or_timeout=False,
    )
    def shadow(payload: Any) -> None:  # noqa: ANN401  off the wire
        work = composition.process().shadowing
        try:
            _compare(work, payload)
        except StoreUnavailableError as error:
            raise LedgerUnavailableError(str(error)) from error

    @app.task(base=LedgerTask, name=names.SHADOW_QUERY_TASK)
    def report(query: Any) -> Any:  # noqa: ANN401  off the wire
        return composition.process().reports.answer(shadow_messages.Query.parse(query))

    @app.task(base=LedgerTask, name=names.SHADOW_COMPARE_TASK)
    def compare(request: Any) -> dict[str, Any]:  # noqa: ANN401  off the wire
        return composition.process().reports.classify(shadow_messages.CompareRequest.parse(request))


def _compare(work: shadowing.Shadowing, payload: Any) -> None:  # noqa: ANN401  off the wire
    try:
        shadowed = shadow_messages.Shadowed.parse(payload)
    except errors.InvalidMessageError as error:
        # Not one of ours: there is nothing in it to count.
        logger.warning("a shadow message cannot be read: %s", error)
        return
    try:
        work.compare(shadowed)
    except SoftTimeLimitExceeded:
        work.miss(shadowed, kind="failed", reason=shadowing.TOO_SLOW)
    except StoreUnavailableError:
        raise
    except Exception as error:
        logger.exception("a shadow message failed")
        work.miss(shadowed, kind="failed", reason=type(error).__name__)
