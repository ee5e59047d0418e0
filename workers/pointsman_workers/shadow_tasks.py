"""The tasks of shadowing, and how a served message comes onto the shadow queue."""

import logging
from typing import Any

from celery import Celery, Task
from celery.exceptions import Reject, SoftTimeLimitExceeded

from pointsman_shared import errors, jobs, names, shadow_messages
from pointsman_shared.settings import Settings
from pointsman_workers import composition, sampling, shadowing
from pointsman_workers.comparisons import StoreUnavailableError

logger = logging.getLogger(__name__)

# A hung candidate is ended with its process, and counted as failed when the message has come back often enough.
HARD_LIMIT_FACTOR = 3


def publish(task: Task, payload: Any, reply: dict[str, Any], *, is_new: bool) -> None:  # type: ignore[type-arg]  # noqa: ANN401  off the wire
    """Put a served message's sampled texts on the shadow queue. Never raises: the outcome is stored already.

    Args:
        task: The task that served it.
        payload: The request.
        reply: What was served.
        is_new: Whether this delivery served it. If not, the delivery that did may have ended before this.
    """
    try:
        # The same message sent twice was shadowed the first time; only a broken delivery has to catch up.
        if is_new or (task.request.delivery_info or {}).get("redelivered"):
            _publish(task.app, payload, reply)
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


def register(app: Celery, base: type[Task], settings: Settings) -> None:  # type: ignore[type-arg]
    """Give an application the tasks of shadowing.

    Args:
        app: The application.
        base: The class of tasks that tell the client that waits.
        settings: The limits.
    """

    @app.task(
        name=names.SHADOW_TASK,
        ignore_result=True,
        soft_time_limit=settings.shadow_time_limit_s,
        time_limit=HARD_LIMIT_FACTOR * settings.shadow_time_limit_s,
        acks_on_failure_or_timeout=False,
    )
    def shadow(payload: Any) -> None:  # noqa: ANN401  off the wire
        work = composition.process().shadowing
        try:
            _compare(work, payload)
        except StoreUnavailableError as error:
            raise Reject(error, requeue=True) from error

    @app.task(base=base, name=names.SHADOW_QUERY_TASK)
    def report(query: Any) -> Any:  # noqa: ANN401  off the wire
        return composition.process().reports.answer(shadow_messages.Query.parse(query))

    @app.task(base=base, name=names.SHADOW_COMPARE_TASK)
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
