"""The tasks, under their stable names: decode, call, encode. JSON in, JSON out; any Celery client may send them."""

import logging
from collections import Counter
from typing import Any

from celery import Celery, Task

from pointsman_shared import names
from pointsman_shared.wire import jobs
from pointsman_workers import bootstrap
from pointsman_workers.delivery import task as delivery_task
from pointsman_workers.delivery.task import LedgerTask
from pointsman_workers.serving import classify as serving
from pointsman_workers.shadow import task as shadow_task

logger = logging.getLogger(__name__)


class Answer:
    """A reply on its way through Celery: JSON for whoever comes next in a chain, a summary for logs and Flower."""

    __slots__ = ("_reply",)

    def __init__(self, reply: dict[str, Any]) -> None:
        self._reply = reply

    def __json__(self) -> dict[str, Any]:
        """Give kombu's encoder the whole reply."""
        return self._reply

    def __repr__(self) -> str:
        """Say how many texts went where; never what they say."""
        routes = [f"{route['tier']}@{route['model_version']}" for route in self._reply["routes"]]
        went = Counter(routes[place] for place in self._reply["route_of"])
        parts = ", ".join(f"{count} {name}" for name, count in went.items())
        return f"<{len(self._reply['intent'])} texts: {parts}>"


class ClassifyTask(LedgerTask):
    """The classification task, which stores its outcome together with its counters."""

    abstract = True
    stores_outcome = True

    def present(self, outcome: Any) -> Answer:  # noqa: ANN401  any JSON value
        """Keep a stored outcome out of logs and events, as a new one is."""
        return Answer(outcome)


def register_serving(app: Celery) -> None:
    """Give an application the tasks of a serving worker."""
    limits = delivery_task.limits(bootstrap.settings(), names.CLASSIFY_TASK)

    @app.task(
        shared=False,
        bind=True,
        base=ClassifyTask,
        name=names.CLASSIFY_TASK,
        soft_time_limit=limits.soft_s,
        time_limit=limits.hard_s,
    )
    def classify(task: Task, request: Any) -> Answer:  # type: ignore[type-arg]  # noqa: ANN401  off the wire
        process = bootstrap.process()
        return Answer(_answer(process, str(task.request.id), task.request.reply_to, request))

    _register_models(app)
    shadow_task.register(app, bootstrap.settings())


def _register_models(app: Celery) -> None:
    limits = delivery_task.limits(bootstrap.settings(), names.MODELS_TASK)

    @app.task(
        shared=False,
        base=LedgerTask,
        name=names.MODELS_TASK,
        soft_time_limit=limits.soft_s,
        time_limit=limits.hard_s,
    )
    def models(query: Any) -> list[dict[str, Any]]:  # noqa: ANN401  off the wire
        return bootstrap.library().answer(jobs.ModelsQuery.parse(query))


def _answer(
    process: bootstrap.Process, message_id: str, client_id: str | None, payload: object
) -> dict[str, Any]:
    request = jobs.ClassifyRequest.parse(payload)
    reply = serving.classify(request, message_id, flags=process.flags, models=process.residents)
    counters = serving.counters(reply) if request.batch else None
    return process.ledger.record(
        reply,
        batch=request.batch,
        counters=counters,
        client_id=client_id,
        shadow=shadow_task.wish(process, request, message_id),
    )


def register_training(app: Celery) -> None:
    """Give an application the tasks of a trainer, which also answers what needs the training data."""
    _register_models(app)
    limits = delivery_task.limits(bootstrap.settings(), names.TRAIN_TASK)

    @app.task(
        shared=False,
        bind=True,
        base=LedgerTask,
        name=names.TRAIN_TASK,
        soft_time_limit=limits.soft_s,
        time_limit=limits.hard_s,
    )
    def train(task: Task, request: Any) -> dict[str, Any]:  # type: ignore[type-arg]  # noqa: ANN401  off the wire
        def report(progress: jobs.TrainProgress) -> None:
            try:
                task.update_state(state="PROGRESS", meta=progress.model_dump())
                # Flower shows the state and the result of the last event.
                task.send_event("task-progress", result=f"{progress.stage} {progress.fraction:.0%}")
            except Exception as error:  # what a broker and a backend raise is theirs: a run goes on unwatched
                logger.warning("a training's progress could not be told: %s", type(error).__name__)

        wanted = jobs.TrainRequest.parse(request)
        return bootstrap.trainer().train(wanted, str(task.request.id), report).model_dump()
