"""The classification task: decode, call, encode. JSON in, JSON out; any Celery client may send it."""

from collections import Counter
from typing import Any

from celery import Task

from pointsman_shared import names
from pointsman_shared.wire import jobs
from pointsman_workers.delivery.task import LedgerTask, needed
from pointsman_workers.delivery.wiring import Wiring
from pointsman_workers.process.per_process import PerProcess
from pointsman_workers.serving import classify as serving
from pointsman_workers.serving.routing import Router


class Answer:
    """A reply on its way through Celery: JSON for the next task of a chain, a summary for logs and Flower."""

    __slots__ = ("_reply",)

    def __init__(self, reply: dict[str, Any]) -> None:
        self._reply = reply

    def __json__(self) -> dict[str, Any]:
        """Give kombu's encoder the whole reply."""
        return self._reply

    def __repr__(self) -> str:
        """Show how many texts went where, never their content."""
        routes = [f"{route['tier']}@{route['model_version']}" for route in self._reply["routes"]]
        went = Counter(routes[place] for place in self._reply["route_of"])
        parts = ", ".join(f"{count} {name}" for name, count in went.items())
        return f"<{len(self._reply['intent'])} texts: {parts}>"


class ClassifyTask(LedgerTask):
    """The classification task, which stores its outcome together with its counters."""

    abstract = True
    stores_outcome = True
    keeps_letters = True

    def digest(self, payload: object) -> str:
        """Return the digest that the publisher sent along, or that of the request."""
        sent = getattr(self.request, jobs.DIGEST_HEADER, None)
        if isinstance(sent, str) and sent:
            return sent
        try:
            return jobs.digest(payload)  # type: ignore[arg-type]  # or it is no request, which is found out later
        except (AttributeError, TypeError, ValueError):
            return ""

    def present(self, outcome: Any) -> Answer:  # noqa: ANN401  any JSON value
        """Keep a stored outcome out of logs and events, like a new one."""
        return Answer(outcome)


def install(wiring: Wiring) -> None:
    """Give an application the classification task."""
    router = PerProcess(lambda: Router(wiring.flags(), lambda: wiring.tiers().routing))
    wiring.problems.append(lambda: router().problems())

    @wiring.app.task(shared=False, bind=True, base=ClassifyTask, name=names.CLASSIFY_TASK)
    def classify(task: Task, request: Any) -> Answer:  # type: ignore[type-arg]  # noqa: ANN401  off the wire
        return Answer(_answer(wiring, router(), str(task.request.id), task.request.reply_to, request))


def _answer(
    wiring: Wiring, router: Router, message_id: str, client_id: str | None, payload: object
) -> dict[str, Any]:
    request = jobs.ClassifyRequest.parse(payload)
    reply = serving.classify(request, message_id, router=router, models=wiring.models())
    with needed():
        outcome: dict[str, Any] = wiring.app.ledger().finish(
            message_id,
            reply,
            batch=request.batch,
            counters=serving.counters(reply) if request.batch else None,
            client_id=client_id,
            extra=wiring.extra(request, message_id),  # noqa: S610  no Django
        )
    return outcome
