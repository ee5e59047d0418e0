"""Stands for a client and the workers behind it."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from pointsman_producer.client.handles import MessageHandle
from pointsman_shared import errors, names
from pointsman_shared.wire import jobs
from tests.support import flag_config

BASE, PRO = (
    jobs.Route(
        tier=tier,
        model_version=1,
        flag=jobs.FlagDecision(key=flag_config.TIER_FLAG, value=tier == "pro", reason="default"),
        intents=["greeting", "goodbye"],
        inference_ms=1.0,
    )
    for tier in ("base", "pro")
)


class Killed(BaseException):
    """What a kill looks like from inside: nothing that is caught on purpose."""


class Handle(MessageHandle):
    """A message under way, whose reply takes some asking."""

    def __init__(self, reply: jobs.ClassifyReply, patience: int, on_result: Callable[[], None]) -> None:
        super().__init__(reply.message_id)
        self._reply = reply
        self._patience = patience
        self._on_result = on_result
        self._answered = False

    def done(self) -> bool:
        return self._answered

    def result(self, timeout_s: float | None = None) -> jobs.ClassifyReply:
        self._patience -= 1
        if self._patience >= 0:
            raise errors.ResultTimeoutError(self.id)
        self._on_result()
        self._answered = True
        return self._reply


class Workers:
    """Stands for client and workers: greets greetings, and serves users whose plan is pro from the pro tier."""

    def __init__(
        self, *, patience: int = 0, fail_after: int = 10**9, error: BaseException | None = None
    ) -> None:
        self.requests: dict[str, jobs.ClassifyRequest] = {}
        self.queues: set[str] = set()
        self.released: list[str] = []
        self.forgotten: list[str | None] = []
        self.to_lose: set[str] = set()
        self.sent: list[str] = []
        self.most_in_flight = self.connections = 0
        self.on_release: Callable[[Sequence[str]], None] = lambda ids: None
        self._patience = patience
        self._fail_after = fail_after
        self._error = error or Killed()
        self._in_flight = self._answered = 0

    @contextlib.contextmanager
    def connect(self) -> Iterator["Workers"]:
        self.connections += 1
        yield self

    def submit_message(self, request: jobs.ClassifyRequest, *, message_id: str, queue: str) -> Handle:
        self.requests[message_id] = request
        self.sent.append(message_id)
        self.queues.add(queue)
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        return Handle(self.reply(request, message_id), self._patience, self._answer)

    def _answer(self) -> None:
        if self._answered >= self._fail_after:
            self.fail()
        self._answered += 1
        self._in_flight -= 1

    def fail(self) -> None:
        raise self._error

    def reply(self, request: jobs.ClassifyRequest, message_id: str) -> jobs.ClassifyReply:
        greets = [text.startswith("hi") for text in request.texts]
        plans = [
            request.users[place].custom.get("plan") if place >= 0 else None for place in request.user_places()
        ]
        return jobs.ClassifyReply(
            message_id=message_id,
            intent=["greeting" if greet else names.OUT_OF_SCOPE for greet in greets],
            confidence=[0.9 if greet else 0.2 for greet in greets],
            ranking=[([0] if greet else [1, 0])[: request.ranking] for greet in greets],
            ranking_confidence=[([0.9] if greet else [0.2, 0.1])[: request.ranking] for greet in greets],
            route_of=[int(plan == "pro") for plan in plans],
            routes=[BASE, PRO],
            wait_ms=1.0,
        )

    def release(self, message_ids: Sequence[str]) -> None:
        self.on_release(message_ids)
        self.released += message_ids

    def lost(self, message_ids: Sequence[str]) -> list[str]:
        lost, self.to_lose = [each for each in message_ids if each in self.to_lose], set()
        return lost

    def forget(self, message_ids: Sequence[str], *, batch: str | None = None) -> None:
        self.forgotten += [*message_ids, batch]
