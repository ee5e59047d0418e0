"""Room in the queues of a real Redis, and cancelling what waits in them."""

import threading
from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from pointsman_producer.client.client import Client
from pointsman_producer.client.users import checked_request
from pointsman_shared import errors, names
from pointsman_shared.settings import Settings
from pointsman_shared.store.backpressure import Pressure
from pointsman_shared.store.connection import Store
from pointsman_shared.wire import jobs
from pointsman_workers.delivery import validation
from tests.support.default_keys import BULK, INTERACTIVE, keys
from tests.support.ledgers import open_ledger

REQUEST = checked_request(["hi", "bye"], [None, None], "b")


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return Settings.from_env(
        {
            "POINTSMAN_REDIS_URL": redis_url,
            "POINTSMAN_QUEUE_MAX_MESSAGES": "4",
        }
    )


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    with Client(settings=settings) as client:
        client._pressure = Pressure(client._store, settings, patience_s=0.3)
        yield client


def fill(redis: Redis, count: int) -> None:
    redis.lpush(BULK, *["{}"] * count)


def test_a_queue_that_is_too_long_slows_and_then_refuses(client: Client, redis: Redis) -> None:
    fill(redis, 5)
    with pytest.raises(errors.QueueFullError, match="length at 125% of its limit"):
        client.submit_message(REQUEST)
    assert redis.llen(BULK) == 5
    assert not redis.exists(keys.open_index)
    assert client.submit_message(REQUEST, queue=names.INTERACTIVE_QUEUE).status == "pending"


def test_a_producer_goes_on_when_there_is_room(settings: Settings, redis: Redis) -> None:
    fill(redis, 5)
    pauses: list[float] = []

    def work_meanwhile(pause_s: float) -> None:
        pauses.append(pause_s)
        redis.delete(BULK)
        pressure._looks.clear()

    pressure = Pressure(Store.connect(settings), settings)
    pressure.wait_for_room(names.BULK_QUEUE, sleep=work_meanwhile)
    assert len(pauses) == 1


def test_what_waits_too_long_makes_a_queue_full(client: Client, redis: Redis, settings: Settings) -> None:
    message = client.submit_message(REQUEST)
    redis.hset(keys.open(message.id), "at", 1_000_000)
    load = Pressure(Store.connect(settings), settings).load(names.BULK_QUEUE)
    assert (load.length < 1, load.age > 1) == (True, True)


def test_a_redis_that_fills_up_takes_no_more_before_it_is_full(redis: Redis, settings: Settings) -> None:
    used = redis.info("memory")["used_memory"]
    redis.config_set("maxmemory", int(used * 1.1))
    assert Pressure(Store.connect(settings), settings).load(names.BULK_QUEUE).memory > 1
    redis.config_set("maxmemory", int(used * 10))
    assert Pressure(Store.connect(settings), settings).load(names.BULK_QUEUE).worst < 0.5


def test_a_full_redis_is_said_clearly_and_leaves_nothing_half_done(
    client: Client, redis: Redis, settings: Settings
) -> None:
    redis.config_set("maxmemory", "1")
    for ask in (lambda: client.submit("hi"), lambda: client.cancel_batch("b")):
        with pytest.raises(errors.QueueFullError, match=r"full|memory"):
            ask()
    assert redis.dbsize() == 0
    redis.config_set("maxmemory", "0")
    # A message that was never sent is not in the way.
    with Client(settings=settings) as other:
        assert other.submit("hi").status == "pending"


# A client that has never sent to the queue is refused already when it declares the queue.
@pytest.mark.parametrize(
    "ask",
    [lambda client: client.train("base"), lambda client: client.models("list")],
    ids=["train", "models"],
)
def test_a_full_redis_takes_no_question_from_a_client_that_has_sent_some(
    client: Client, redis: Redis, ask: Callable[[Client], object]
) -> None:
    ask(client)
    redis.flushall()
    redis.config_set("maxmemory", "1")
    with pytest.raises(errors.QueueFullError, match=r"full|memory"):
        ask(client)


def test_a_timeout_counts_the_wait_for_room_and_its_job_is_not_sent_later(
    client: Client, redis: Redis, settings: Settings
) -> None:
    client._pressure = Pressure(client._store, settings, patience_s=10_000)
    redis.lpush(INTERACTIVE, *["{}"] * 5)
    with pytest.raises(
        errors.ResultTimeoutError, match=r"could not be sent within 0\.2 s: the queue is full"
    ):
        client.classify("hi", timeout_s=0.2)
    # It does not wait for room either.
    client.close()
    assert redis.llen(INTERACTIVE) == 5


def test_a_timeout_counts_the_sending(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(client._outbox, "send", lambda *_, **__: answered.wait())
    with pytest.raises(errors.ResultTimeoutError, match="or Redis does not answer"):
        client.classify("hi", timeout_s=0.2)
    client.close()
    answered.set()


def test_a_training_that_finds_no_room_does_not_keep_its_tier(
    client: Client, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise errors.QueueFullError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(client._outbox, "send", refuse)
        with pytest.raises(errors.QueueFullError):
            client.train("base")
    assert not redis.exists(keys.training("base"))


def test_a_training_whose_outcome_cannot_be_awaited_does_not_keep_its_tier(
    client: Client, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise errors.BrokerUnavailableError("no connection for the replies")

    with monkeypatch.context() as patch:
        patch.setattr(client._inbox, "expect", refuse)
        with pytest.raises(errors.BrokerUnavailableError):
            client.train("base")
    assert not redis.exists(keys.training("base"))
    assert client.train("base").status == "pending"


def test_a_cancelled_message_is_not_done_any_more(client: Client, redis: Redis, settings: Settings) -> None:
    message = client.submit_message(REQUEST, message_id="m")
    assert client.cancel(message.id)
    assert not client.cancel(message.id)
    with pytest.raises(errors.CancelledError):
        message.result(5)
    ledger = open_ledger(settings)
    assert ledger.attempt("m", worker="w", batch="b").is_done
    ledger.finish("m", {}, batch="b", counters={"done": 2})
    assert client.progress("b") == {"cancelled": 2}
    assert not redis.exists(keys.open("m"), keys.open_index)


def test_a_finished_message_cannot_be_cancelled(client: Client, settings: Settings) -> None:
    message = client.submit_message(REQUEST)
    open_ledger(settings).finish(message.id, {})
    assert not client.cancel(f"{message.id}:1")


def test_a_cancelled_batch_is_not_started(client: Client, settings: Settings) -> None:
    client.cancel_batch("b")
    ledger = open_ledger(settings)
    assert ledger.attempt("m", worker="w", batch="b").is_cancelled
    assert not ledger.attempt("n", worker="w", batch="c").is_cancelled


def test_a_message_that_workers_would_refuse_is_not_sent(client: Client, redis: Redis) -> None:
    large = jobs.User(id="ana", custom={"notes": "x" * jobs.MAX_MESSAGE_BYTES})
    with pytest.raises(errors.InvalidMessageError, match="at most 65000000 are taken"):
        client.submit("hi", user=large)
    assert not redis.exists(keys.open_index, INTERACTIVE)


def test_the_largest_texts_there_are_can_be_sent_and_are_taken(client: Client, redis: Redis) -> None:
    text = "\U0001f600" * jobs.MAX_TEXT_CHARS
    client.submit_message(checked_request([text] * 200, [None] * 200))
    raw = redis.rpop(BULK)
    assert isinstance(raw, bytes)
    assert validation.read(raw, {names.CLASSIFY_TASK})[0]["headers"]["task"] == names.CLASSIFY_TASK
