"""Jobs through a real Redis and real Celery workers with small real models."""

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from redis import Redis

from pointsman_producer.client import stream
from pointsman_producer.client.async_client import AsyncClient
from pointsman_producer.client.client import Client, new_id
from pointsman_producer.client.stream import TurnOutcome
from pointsman_producer.client.users import checked_request
from pointsman_shared import errors, names
from pointsman_shared.broker import config as broker_config
from pointsman_shared.settings import Settings
from pointsman_shared.wire import jobs
from tests.support import flag_config, running, tiny
from tests.support.deadlines import eventually
from tests.support.default_keys import BULK
from tests.support.running import DATA, Running

TIMEOUT_S = 30
PAYMENT = "can i pay by card"
FREE = jobs.User(id="free", custom={"plan": "free"})
PRO = jobs.User(id="pro", email="p@example.com", country="GB", custom={"plan": "pro", "seats": 3})
TEXTS = [text for utterances in tiny.UTTERANCES.values() for text in utterances]


@pytest.fixture
def deployed(shared_deployment: Running) -> Running:
    return shared_deployment


@pytest.fixture
def settings(deployed: Running) -> Settings:
    return deployed.settings


@pytest.fixture
def celery_app(deployed: Running) -> Iterator[Celery]:
    with broker_config.make_app(deployed.settings) as app:
        yield app


def test_a_single_job_is_answered_by_the_tier_its_user_has(client: Client) -> None:
    on_pro = client.classify(PAYMENT, user=PRO)
    on_base = client.classify(PAYMENT, user=FREE)
    assert (on_pro.tier, on_pro.intent, on_pro.text) == ("pro", "payment_methods", PAYMENT)
    assert (on_base.tier, on_base.intent) == ("base", names.OUT_OF_SCOPE)
    assert on_pro.flag.reason == "targeting_rule"
    assert on_pro.flag.etag
    assert on_pro.ranking[0].intent == "payment_methods"
    assert on_pro.wait_ms is not None


def test_who_listens_later_gets_the_events_of_tasks_and_nobody_costs_next_to_none(
    client: Client, celery_app: Celery, redis: Redis
) -> None:
    with redis.monitor() as monitor:  # type: ignore[no-untyped-call]  # redis-py's
        started = time.monotonic()
        for _ in range(40):
            client.classify("hi")
        took_s = time.monotonic() - started
        redis.echo("the end")
        said = iter(lambda: monitor.next_command()["command"], "ECHO the end")
        sent = [command for command in said if command.startswith("PUBLISH") and "events/task." in command]
    # The worker's parent sends one event a second, to learn whether a program receives them.
    assert len(sent) <= took_s + 2
    heard: list[str] = []

    def is_heard() -> bool:
        client.classify("hi")
        return {"task-received", "task-started", "task-succeeded"} <= {*heard}

    with celery_app.connection_for_read() as connection:
        receiver = celery_app.events.Receiver(
            connection, handlers={"*": lambda event: heard.append(event["type"])}
        )
        listener = threading.Thread(target=receiver.capture, kwargs={"limit": None})
        listener.start()
        eventually(is_heard, "the events come")
        receiver.should_stop = True
        listener.join(10)


def test_a_job_without_a_user_gets_the_default_and_the_text_can_be_left_out(client: Client) -> None:
    outcome = client.classify("hi", include_text=False)
    assert (outcome.tier, outcome.flag.reason, outcome.text) == ("base", "default", None)


def test_an_outcome_ranks_as_many_intents_as_were_asked_for(client: Client) -> None:
    assert len(client.classify(PAYMENT, user=PRO).ranking) == 1
    (handle,) = client.submit_many([PAYMENT], users=PRO, ranking=3)
    for ranking in (client.classify(PAYMENT, user=PRO, ranking=3).ranking, handle.result(TIMEOUT_S).ranking):
        assert [one.confidence for one in ranking] == sorted(
            (one.confidence for one in ranking), reverse=True
        )
        assert len(ranking) == 3
    with pytest.raises(errors.InvalidMessageError, match="ranking"):
        client.classify(PAYMENT, ranking=0)


def test_many_jobs_keep_their_order_and_their_users(client: Client) -> None:
    texts = TEXTS * 100
    users = [(FREE, PRO, None)[place % 3] for place in range(len(texts))]
    handles = client.submit_many(texts, users=users)
    outcomes = [handle.result(TIMEOUT_S) for handle in handles]
    assert [outcome.text for outcome in outcomes] == texts
    assert [outcome.tier for outcome in outcomes] == [
        ("base", "pro", "base")[n % 3] for n in range(len(texts))
    ]
    assert len({outcome.job_id for outcome in outcomes}) == len(texts)
    alone = {
        (user.id if user else None, text): client.submit(text, user=user).result(TIMEOUT_S).intent
        for user in (FREE, PRO, None)
        for text in TEXTS
    }
    assert [outcome.intent for outcome in outcomes] == [
        alone[user.id if user else None, text] for user, text in zip(users, texts, strict=True)
    ]


def test_a_batch_counts_its_texts_once_even_when_a_message_is_sent_twice(client: Client) -> None:
    batch, message_id = new_id(), new_id()
    request = checked_request(["bye", "hi", PAYMENT], [PRO, FREE, PRO], batch)
    first = client.submit_message(request, message_id=message_id).result(TIMEOUT_S)
    again = client.submit_message(request, message_id=message_id).result(TIMEOUT_S)
    assert again == first
    assert client.progress(batch) == {
        "done": 3,
        "pro:goodbye": 1,
        "base:greeting": 1,
        "pro:payment_methods": 1,
    }


def test_single_jobs_of_many_threads_share_messages(deployed: Running) -> None:
    outcomes: dict[int, jobs.Outcome] = {}
    with Client(settings=deployed.settings, linger_ms=50, max_batch=100) as client:

        def ask(number: int) -> None:
            outcomes[number] = client.classify(TEXTS[number % len(TEXTS)], user=(FREE, PRO)[number % 2])

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(60)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT_S)
    assert [outcomes[number].text for number in range(60)] == [
        TEXTS[number % len(TEXTS)] for number in range(60)
    ]
    assert [outcomes[number].tier for number in range(60)] == ["base", "pro"] * 30
    messages = {names.parse_job_id(outcome.job_id)[0] for outcome in outcomes.values()}
    assert len(messages) < 10


def test_asyncio_services_classify_without_blocking(deployed: Running) -> None:
    async def ask() -> list[jobs.Outcome]:
        async with AsyncClient(settings=deployed.settings) as client:
            waiting = [client.classify(text, user=PRO, timeout_s=TIMEOUT_S) for text in TEXTS]
            bulk = await client.submit_many(TEXTS, users=FREE)
            return [*await asyncio.gather(*waiting), *[await handle.result(TIMEOUT_S) for handle in bulk]]

    outcomes = asyncio.run(ask())
    assert [outcome.text for outcome in outcomes] == TEXTS * 2
    assert [outcome.tier for outcome in outcomes] == ["pro"] * len(TEXTS) + ["base"] * len(TEXTS)


def test_flipping_the_flag_moves_later_jobs_in_every_process_without_restart(
    deployed: Running, client: Client
) -> None:
    def tiers() -> set[str]:
        return {
            handle.result(TIMEOUT_S).tier for handle in [client.submit("hi", user=FREE) for _ in range(12)]
        }

    eventually(lambda: tiers() == {"base"}, "the free plan on base")
    deployed.set_flags(flag_config.plan_flag(flag_config.TIER_FLAG, "pro", "free"))
    eventually(lambda: tiers() == {"pro"}, "the free plan on pro in every process")
    deployed.set_flags(flag_config.plan_flag(flag_config.TIER_FLAG, "pro"))
    eventually(lambda: tiers() == {"base"}, "the free plan back on base")


def test_any_celery_client_can_submit_and_read(celery_app: Celery) -> None:
    request = {"texts": ["hi", PAYMENT], "users": [PRO.model_dump()], "include_texts": True}
    result = celery_app.send_task(names.CLASSIFY_TASK, args=[request])
    reply = jobs.ClassifyReply.model_validate(result.get(timeout=TIMEOUT_S))
    assert reply.intent == ["greeting", "payment_methods"]
    assert reply.texts == ["hi", PAYMENT]
    assert reply.message_id == result.id
    assert result.status == "SUCCESS"


def test_a_reply_goes_on_through_a_chain(celery_app: Celery) -> None:
    first = celery_app.signature(names.CLASSIFY_TASK, args=[{"texts": ["hi"]}], queue=BULK)
    # Celery's own task that gives back what it is given.
    second = celery_app.signature("celery.accumulate", kwargs={"index": 0}, queue=BULK)
    reply = (first | second).apply_async().get(timeout=TIMEOUT_S)
    assert jobs.ClassifyReply.model_validate(reply).intent == ["greeting"]


@pytest.mark.parametrize("request_", [{"texts": []}, {"texts": "hi"}, {"texts": ["hi"], "user_of": [4]}, 7])
def test_a_message_that_breaks_the_schema_fails_clearly_and_harms_no_other(
    celery_app: Celery, client: Client, request_: Any
) -> None:
    result = celery_app.send_task(names.CLASSIFY_TASK, args=[request_])
    with pytest.raises(errors.InvalidMessageError):
        result.get(timeout=TIMEOUT_S)
    assert client.classify("hi").intent == "greeting"


def test_the_client_refuses_what_breaks_a_limit_before_sending_it(client: Client) -> None:
    with pytest.raises(errors.InvalidMessageError, match=r"texts\.1"):
        client.submit_many(["hi", "x" * (jobs.MAX_TEXT_CHARS + 1)])
    with pytest.raises(errors.InvalidMessageError, match="2 users were given for 1 texts"):
        client.submit_many(["hi"], users=[FREE, PRO])


def test_an_outcome_that_does_not_come_is_a_clear_error(deployed: Running, client: Client) -> None:
    message = client.submit_message(checked_request(["hi"], [None]), queue="no-worker")
    assert message.status == "pending"
    with pytest.raises(errors.ResultTimeoutError, match="are workers running"):
        message.result(0.1)


def test_redis_that_is_not_there_is_a_clear_error() -> None:
    with Client("redis://127.0.0.1:1/0") as client, pytest.raises(errors.BrokerUnavailableError):
        client.classify("hi")


def test_interactive_jobs_overtake_bulk_work(deployed: Running, client: Client) -> None:
    order: list[str] = []
    parent = deployed.deployment.pids()["serving"]
    # While no worker takes messages, so that all of them wait when the urgent job comes.
    os.kill(parent, signal.SIGSTOP)
    try:
        bulk = client.submit_many(TEXTS * 800)[-1]
        urgent = client.submit("hi", user=FREE)
        bulk.message.future.add_done_callback(lambda _: order.append("bulk"))
        urgent.message.future.add_done_callback(lambda _: order.append("urgent"))
    finally:
        os.kill(parent, signal.SIGCONT)
    assert urgent.result(TIMEOUT_S).intent == "greeting"
    eventually(lambda: len(order) > 1, "both are done")
    assert order == ["urgent", "bulk"]


def test_a_new_champion_serves_without_restart(deployed: Running, client: Client) -> None:
    version = running.keep(deployed.registry, "base", tiny.BASE_INTENTS)
    deployed.registry.promote("base", version, "tests", "newer")
    eventually(
        lambda: {client.classify("hi", user=FREE).model_version for _ in range(8)} == {version},
        "the new version in every process",
    )


def test_the_registry_answers_through_the_queue(client: Client) -> None:
    lines = client.models("list").result(TIMEOUT_S)
    assert {line["tier"] for line in lines if line["champion"]} == {"base", "pro"}
    card = client.models("show", tier="pro").result(TIMEOUT_S)[0]
    assert card["intents"] == list(tiny.PRO_INTENTS)
    with pytest.raises(errors.UnknownTierError, match="base, pro"):
        client.models("show", tier="gold").result(TIMEOUT_S)
    with pytest.raises(errors.RegistryError, match="no version 99"):
        client.models("show", tier="pro", version=99).result(TIMEOUT_S)


def test_neither_texts_nor_users_reach_the_logs(
    deployed: Running, celery_app: Celery, client: Client
) -> None:
    client.classify("a very secret utterance", user=jobs.User(id="secret-user", email="secret@example.com"))
    request = {"texts": ["another secret utterance", 7]}
    with pytest.raises(errors.InvalidMessageError):
        celery_app.send_task(names.CLASSIFY_TASK, args=[request], argsrepr="(1 text)").get(timeout=TIMEOUT_S)
    assert [line for line in deployed.log if "secret" in line] == []


def test_a_transcript_file_streams_through_with_one_outcome_a_customer_turn_in_order(
    deployed: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = DATA / "transcripts.jsonl"
    conversations = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    turns = [
        (conversation["conversation_id"], place, turn["text"], conversation["user"]["custom"]["plan"])
        for conversation in conversations
        for place, turn in enumerate(conversation["turns"])
        if turn["speaker"] == "customer"
    ]
    # Small messages, so that the window fills.
    monkeypatch.setattr(stream, "MAX_CHUNK_CHARS", 300)
    settings = deployed.settings

    async def collect() -> list[TurnOutcome]:
        async with AsyncClient(settings=settings) as client:
            return [one async for one in client.classify_transcripts(path, window=2, timeout_s=TIMEOUT_S)]

    with Client(settings=settings) as client:
        streamed = list(client.classify_transcripts(path, window=2, timeout_s=TIMEOUT_S))
    for found in (streamed, asyncio.run(collect())):
        assert [
            (one.conversation_id, one.turn.place, one.outcome.text, one.user and one.user.custom["plan"])
            for one in found
        ] == turns
        assert [one.outcome.tier for one in found] == [
            "pro" if plan == "pro" else "base" for *_, plan in turns
        ]
        assert len({one.outcome.job_id for one in found}) == len(turns)
