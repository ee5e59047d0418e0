"""The tasks, under their stable names: decode, call, encode. JSON in, JSON out; any Celery client may send them."""

from collections import Counter
from typing import Any

from celery import Celery, Task
from celery.exceptions import Reject

from pointsman_shared import errors, jobs, names
from pointsman_workers import composition, serving, shadow_tasks
from pointsman_workers.ledger import LedgerUnavailableError


class NotifyingTask(Task):  # type: ignore[type-arg]  # celery's own class takes no parameters at run time
    """A task that tells the client that waits when Celery has stored its result."""

    abstract = True
    throws = (errors.PointsmanError,)

    def after_return(self, status: str, retval: object, task_id: str, *_: object) -> None:  # noqa: ARG002  Celery's hook
        """Tell the client; a classification that succeeded did so in the transaction that stored its outcome."""
        if status == "FAILURE" or self.name != names.CLASSIFY_TASK:
            composition.ledger().notify(self.request.reply_to or "", task_id)


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


def register_serving(app: Celery) -> None:
    """Give an application the tasks of a serving worker."""

    @app.task(bind=True, base=NotifyingTask, name=names.CLASSIFY_TASK, ignore_result=True)
    def classify(task: Task, request: Any) -> Answer:  # type: ignore[type-arg]  # noqa: ANN401  off the wire
        process = composition.process()
        message_id = str(task.request.id)
        try:
            earlier = process.ledger.stored(message_id)
            reply = earlier or _answer(process, message_id, task.request.reply_to, request)
            shadow_tasks.publish(task, request, reply, is_new=earlier is None)
            return Answer(reply)
        except LedgerUnavailableError as error:
            # Nothing was stored, so nothing happened: somebody does it again when Redis is back.
            raise Reject(error, requeue=True) from error

    @app.task(base=NotifyingTask, name=names.MODELS_TASK)
    def models(query: Any) -> list[dict[str, Any]]:  # noqa: ANN401  off the wire
        return composition.library().answer(jobs.ModelsQuery.parse(query))

    shadow_tasks.register(app, NotifyingTask, composition.settings())


def _answer(
    process: composition.Process, message_id: str, client_id: str | None, payload: object
) -> dict[str, Any]:
    request = jobs.ClassifyRequest.parse(payload)
    reply = serving.classify(request, message_id, flags=process.flags, models=process.residents)
    counters = serving.counters(reply) if request.batch else None
    return process.ledger.record(reply, batch=request.batch, counters=counters, client_id=client_id)


def register_training(app: Celery) -> None:
    """Give an application the task of a trainer."""

    @app.task(bind=True, base=NotifyingTask, name=names.TRAIN_TASK)
    def train(task: Task, request: Any) -> dict[str, Any]:  # type: ignore[type-arg]  # noqa: ANN401  off the wire
        def report(progress: jobs.TrainProgress) -> None:
            task.update_state(state="PROGRESS", meta=progress.model_dump())

        wanted = jobs.TrainRequest.parse(request)
        return composition.trainer().train(wanted, report).model_dump()
