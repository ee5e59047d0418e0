"""What a batch and a stream ask of a client: the stand-in of their unit tests answers as real workers do."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import pytest
from celery import Celery

from pointsman_producer.client.client import RELEASED_TTL_S, Client
from pointsman_producer.client.window import Submitter
from pointsman_shared import errors, names
from pointsman_shared.store import dead_letters
from pointsman_shared.store.connection import Store
from pointsman_shared.wire import jobs
from tests.support import flag_config
from tests.support.deadlines import eventually
from tests.support.default_keys import BULK, keys
from tests.support.fake_workers import Workers
from tests.support.ledgers import open_ledger, open_letters
from tests.support.running import Running

TIMEOUT_S = 60
PRO = jobs.User(id="ana", custom={"plan": "pro"})
LETTER = dead_letters.DeadLetter(id="l", reason="failed", error="E", detail="d", queue="")
FREE = jobs.User(id="bob", custom={"plan": "free"})
TEXTS = ["hi", "my parcel is late", "hi"]


class Side(Protocol):
    """A client with its workers, and what can be seen of both from outside."""

    def connect(self) -> AbstractContextManager[Submitter]: ...
    def stop_answering(self) -> str:
        """Return a queue whose messages are not answered from now on."""

    def lets_go(self, message_id: str) -> bool:
        """Tell whether the outcome of a message goes soon."""


class FakeSide:
    def __init__(self) -> None:
        self._workers = Workers()

    def connect(self) -> AbstractContextManager[Submitter]:
        return self._workers.connect()

    def stop_answering(self) -> str:
        self._workers._patience = 1_000
        return names.BULK_QUEUE

    def lets_go(self, message_id: str) -> bool:
        return message_id in self._workers.released


class RealSide:
    def __init__(self, deployed: Running, store: Store) -> None:
        self._settings = deployed.settings
        self.store = store

    def connect(self) -> AbstractContextManager[Submitter]:
        return Client(settings=self._settings)

    def stop_answering(self) -> str:
        return "no-worker"

    def lets_go(self, message_id: str) -> bool:
        return 0 <= self.store.ttl(keys.result(message_id)) <= RELEASED_TTL_S


@pytest.fixture
def real(shared_deployment: Running) -> Iterator[RealSide]:
    with Store.connect(shared_deployment.settings) as store:
        yield RealSide(shared_deployment, store)


@pytest.fixture(params=["fake", "real"])
def side(request: pytest.FixtureRequest) -> Side:
    side: Side = FakeSide() if request.param == "fake" else request.getfixturevalue("real")
    return side


@pytest.fixture
def submitter(side: Side) -> Iterator[Submitter]:
    with side.connect() as submitter:
        yield submitter


def request(texts: Sequence[str], *users: jobs.User, batch: str | None = None) -> jobs.ClassifyRequest:
    user_of = [place % len(users) for place in range(len(texts))] if users else None
    return jobs.ClassifyRequest(texts=list(texts), users=list(users), user_of=user_of, batch=batch)


@pytest.fixture
def ask(submitter: Submitter) -> Callable[..., jobs.ClassifyReply]:
    def ask(wanted: jobs.ClassifyRequest, message_id: str | None = None) -> jobs.ClassifyReply:
        handle = submitter.submit_message(wanted, message_id=message_id or new_id(), queue=names.BULK_QUEUE)
        return handle.result(TIMEOUT_S)

    return ask


def new_id() -> str:
    return str(uuid.uuid4())


def test_a_reply_has_one_entry_for_each_text_in_order(ask: Callable[..., jobs.ClassifyReply]) -> None:
    message_id = new_id()
    reply = ask(request(TEXTS), message_id)
    assert reply.message_id == message_id
    assert reply.intent == ["greeting", names.OUT_OF_SCOPE, "greeting"]
    for entries in (reply.confidence, reply.ranking, reply.ranking_confidence, reply.route_of):
        assert len(entries) == len(TEXTS)
    assert all(0 <= confidence <= 1 for confidence in reply.confidence)


@pytest.mark.parametrize("ranking", [1, 2])
def test_a_ranking_is_as_long_as_is_asked_for(ask: Callable[..., jobs.ClassifyReply], ranking: int) -> None:
    reply = ask(request(TEXTS).model_copy(update={"ranking": ranking}))
    assert max(map(len, reply.ranking)) == max(map(len, reply.ranking_confidence)) == ranking


def test_each_text_is_routed_by_the_plan_of_its_user(ask: Callable[..., jobs.ClassifyReply]) -> None:
    reply = ask(request(TEXTS, PRO, FREE))
    routes = [reply.routes[place] for place in reply.route_of]
    assert [route.tier for route in routes] == ["pro", "base", "pro"]
    assert {route.flag.key for route in routes} == {flag_config.TIER_FLAG}
    assert all(route.model_version == 1 for route in routes)


def test_every_outcome_can_be_read_from_a_reply(ask: Callable[..., jobs.ClassifyReply]) -> None:
    reply = ask(request(TEXTS, PRO, FREE, batch="b"))
    outcomes = [jobs.outcome(reply, place, text) for place, text in enumerate(TEXTS)]
    assert [outcome.text for outcome in outcomes] == TEXTS
    assert [outcome.intent for outcome in outcomes] == reply.intent


def test_a_reply_that_is_not_there_in_time_is_a_retryable_error(side: Side, submitter: Submitter) -> None:
    queue = side.stop_answering()
    handle = submitter.submit_message(request(TEXTS), message_id=new_id(), queue=queue)
    for _ in range(2):
        with pytest.raises(errors.ResultTimeoutError):
            handle.result(0.01)
    assert not handle.done()


def test_a_handle_is_done_when_it_has_given_its_reply_and_gives_it_again(submitter: Submitter) -> None:
    handle = submitter.submit_message(request(TEXTS), message_id=new_id(), queue=names.BULK_QUEUE)
    reply = handle.result(TIMEOUT_S)
    assert handle.done()
    assert handle.result(TIMEOUT_S) == reply


def test_a_message_that_is_sent_again_gets_the_same_reply(ask: Callable[..., jobs.ClassifyReply]) -> None:
    message_id = new_id()
    first, again = (ask(request(TEXTS, PRO), message_id) for _ in range(2))
    assert again == first


def test_released_outcomes_go_soon_and_others_stay(side: Side, submitter: Submitter) -> None:
    handles = [
        submitter.submit_message(request(TEXTS), message_id=new_id(), queue=names.BULK_QUEUE)
        for _ in range(3)
    ]
    for handle in handles:
        handle.result(TIMEOUT_S)
    submitter.release([handle.id for handle in handles[:2]])
    assert [side.lets_go(handle.id) for handle in handles] == [True, True, False]


def test_releasing_nothing_or_an_unknown_message_harms_nothing(submitter: Submitter) -> None:
    submitter.release([])
    submitter.release([new_id()])


@pytest.mark.parametrize("is_done", [True, False])
def test_another_request_under_the_same_id_is_refused(real: RealSide, is_done: bool) -> None:
    message_id = new_id()
    with real.connect() as submitter:
        queue = names.BULK_QUEUE if is_done else real.stop_answering()
        first = submitter.submit_message(request(["hi"], PRO), message_id=message_id, queue=queue)
        if is_done:
            first.result(TIMEOUT_S)
        for other in (request(["hi", "hi"], PRO), request(["hi"], FREE), request(["hi"], PRO, batch="b")):
            with pytest.raises(errors.ConflictError, match="is that of another request: choose another id"):
                submitter.submit_message(other, message_id=message_id, queue=queue)
        again = submitter.submit_message(request(["hi"], PRO), message_id=message_id, queue=queue)
        if is_done:
            assert again.result(TIMEOUT_S) == first.result(TIMEOUT_S)


def test_a_refused_request_takes_nothing_from_the_one_that_waits_under_its_id(real: RealSide) -> None:
    message_id = new_id()
    with real.connect() as submitter:
        queue = real.stop_answering()
        first = submitter.submit_message(request(["hi"]), message_id=message_id, queue=queue)
        with pytest.raises(errors.ConflictError):
            submitter.submit_message(request(["hi", "hi"]), message_id=message_id, queue=names.BULK_QUEUE)
        open_ledger(real._settings).reject(message_id, LETTER, errors.InvalidMessageError("it came"))
        with pytest.raises(errors.InvalidMessageError, match="it came"):
            first.result(TIMEOUT_S)


def test_another_request_of_a_plain_celery_client_under_the_same_id_is_a_dead_letter(real: RealSide) -> None:
    url = real._settings.redis_url.get_secret_value()
    message_id, letters = new_id(), open_letters(real._settings)
    with real.connect() as submitter, Celery(broker=url) as plain:
        wanted = request(["hi"], PRO)
        first = submitter.submit_message(wanted, message_id=message_id, queue=names.BULK_QUEUE).result(
            TIMEOUT_S
        )
        before = letters.count()
        for text in ("hi", "my parcel is late"):
            payload = {"texts": [text], "users": [PRO.model_dump(exclude_defaults=True)]}
            plain.send_task(names.CLASSIFY_TASK, args=(payload,), task_id=message_id, queue=BULK)
        eventually(lambda: letters.count() == before + 1, "the other one is set aside")
        again = submitter.submit_message(wanted, message_id=message_id, queue=names.BULK_QUEUE)
        assert again.result(TIMEOUT_S) == first
    latest = next(letters.find())
    assert latest.error == "ConflictError"
    assert "my parcel" not in latest.detail


def test_a_message_that_was_forgotten_is_done_anew(
    submitter: Submitter, ask: Callable[..., jobs.ClassifyReply]
) -> None:
    message_id = new_id()
    first = ask(request(["hi"]), message_id)
    submitter.forget([message_id])
    second = ask(request(["my parcel is late"]), message_id)
    assert [reply.intent for reply in (first, second)] == [["greeting"], [names.OUT_OF_SCOPE]]


def test_a_message_whose_outcome_went_after_its_release_is_done_again(real: RealSide) -> None:
    message_id = new_id()
    with real.connect() as submitter:
        submitter.submit_message(request(["hi"]), message_id=message_id, queue=names.BULK_QUEUE).result(
            TIMEOUT_S
        )
        submitter.release([message_id])
        real.store.delete(keys.result(message_id))
    with real.connect() as submitter:
        again = submitter.submit_message(request(["hi"]), message_id=message_id, queue=names.BULK_QUEUE)
        assert again.result(TIMEOUT_S).intent == ["greeting"]


def test_a_batch_that_starts_anew_counts_from_zero_and_is_not_cancelled_any_more(real: RealSide) -> None:
    batch, message_id = new_id(), new_id()
    with Client(settings=real._settings) as client:
        client.submit_message(request(TEXTS, batch=batch), message_id=message_id).result(TIMEOUT_S)
        client.cancel_batch(batch)
        client.forget([message_id], batch=batch)
        assert client.progress(batch) == {}
        client.submit_message(request(TEXTS, batch=batch), message_id=message_id).result(TIMEOUT_S)
        assert client.progress(batch)["done"] == 3


def test_releasing_shortens_a_time_and_never_lengthens_it(real: RealSide) -> None:
    with real.connect() as submitter:
        handle = submitter.submit_message(request(TEXTS), message_id=new_id(), queue=names.BULK_QUEUE)
        handle.result(TIMEOUT_S)
        real.store.expire(keys.result(handle.id), 30)
        submitter.release([handle.id])
        assert 0 < real.store.ttl(keys.result(handle.id)) <= 30


def test_progress_of_a_batch_and_its_cancellation_are_counted_by_texts(real: RealSide) -> None:
    batch = new_id()
    with Client(settings=real._settings) as client:
        client.submit_message(request(TEXTS, batch=batch)).result(TIMEOUT_S)
        assert client.progress(batch) == {"done": 3, "base:greeting": 2, f"base:{names.OUT_OF_SCOPE}": 1}
        client.cancel_batch(batch)
        with pytest.raises(errors.CancelledError):
            client.submit_message(request(TEXTS, batch=batch)).result(TIMEOUT_S)
        assert client.progress(batch)["cancelled"] == 3
        waiting = client.submit_message(request(TEXTS), queue="no-worker")
        assert client.cancel(waiting.id)
        with pytest.raises(errors.CancelledError):
            waiting.result(TIMEOUT_S)
