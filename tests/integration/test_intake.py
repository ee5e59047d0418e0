"""Garbage on real queues of real workers becomes dead letters with a reason, and blocks no other message."""

import contextlib
import json
import random
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import NotRegistered
from redis import Redis

from pointsman_producer.client.client import Client
from pointsman_producer.client.users import checked_request
from pointsman_shared import errors
from pointsman_shared.settings import Settings
from pointsman_shared.store import dead_letters
from pointsman_shared.wire import jobs
from pointsman_workers import bootstrap
from tests.support import garbage
from tests.support.deadlines import eventually
from tests.support.default_keys import BULK, INTERACTIVE, SERVING, keys
from tests.support.ledgers import open_in_flight, open_letters
from tests.support.running import Running

TIMEOUT_S = 30


@pytest.fixture
def deployed(shared_deployment: Running) -> Running:
    return shared_deployment


@pytest.fixture
def settings(deployed: Running) -> Settings:
    return deployed.settings


@pytest.mark.parametrize("times", [2, pytest.param(21, marks=pytest.mark.slow)])
def test_garbage_becomes_dead_letters_and_stops_no_worker(
    deployed: Running, redis: Redis, times: int
) -> None:
    redis.delete(keys.dead_index)
    pids = deployed.deployment.pids()
    letters = open_letters(deployed.settings)
    pushed = [kind() for kind in garbage.KINDS.values() for _ in range(times)]
    random.shuffle(pushed)
    with Client(settings=deployed.settings) as client:
        answered = []
        for place, raw in enumerate(pushed):
            redis.lpush(random.choice(SERVING), raw)
            if place % 10 == 0:
                answered.append(client.submit_message(checked_request(["hi"], [None])))
        assert all(message.result(TIMEOUT_S).intent == ["greeting"] for message in answered)
        eventually(lambda: letters.count() == len(pushed), "everything else in the dead letters")
    assert {letter.reason for letter in letters.find()} == {dead_letters.MALFORMED}
    assert all(letter.detail and letter.worker and letter.versions for letter in letters.find())
    assert deployed.deployment.pids() == pids
    eventually(lambda: redis.hlen(keys.unacked) == 0, "nothing left unacknowledged")
    # What is left open would be published again for ever.
    eventually(lambda: redis.zcard(keys.open_index) == 0, "nothing left open")
    assert list(redis.scan_iter(keys.open("*"))) == []
    assert [line for line in deployed.log if "secret" in line] == []
    assert not any(garbage.SECRET in letter.detail for letter in letters.find())


def test_garbage_under_the_id_of_a_sound_message_leaves_that_one_in_flight(
    deployed: Running, redis: Redis
) -> None:
    messages, letters = open_in_flight(deployed.settings), open_letters(deployed.settings)
    redis.delete(keys.dead_index)
    with contextlib.closing(messages.store):
        messages.enter("taken", "no-worker", json.dumps({"body": "sound"}).encode())
        redis.lpush(BULK, json.dumps(garbage.message(headers_id="taken", headers_retries="many")))
        eventually(lambda: letters.count() == 1, "the garbage is a dead letter")
        assert redis.zscore(keys.open_index, "taken")
        assert not redis.exists(keys.result("taken"))
    redis.delete(keys.open("taken"), keys.open_index)


REFUSED: dict[str, dict[str, Any]] = {
    "a long id": {"headers_id": "x" * 201},
    "an id in another script": {"headers_id": 'größer "😀" \\', "headers_retries": "many"},
    "compressed": {"headers_compression": "gzip"},
    "a pickle": {"content_type": "application/x-python-serialize"},
    "an eta that is no time": {"headers_eta": "tomorrow"},
    "a link that is none": {"body": [[{"texts": ["hi"]}], {}, {"callbacks": [7]}]},
    "a chain that is none": {"body": [[{"texts": ["hi"]}], {}, {"chain": [{"args": []}]}]},
    "a chord that is none": {"body": [[{"texts": ["hi"]}], {}, {"chord": {"task": 7}}]},
    "half an emoji as text": {"body": [[{"texts": ["\ud83d"]}], {}, {}]},
    "half an emoji as batch": {"body": [[{"texts": ["hi"], "batch": "\ud83d"}], {}, {}]},
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("enters", [False, True], ids=["by itself", "through our application"])
def test_a_client_that_waits_for_a_refused_message_gets_the_reason(
    deployed: Running, redis: Redis, kind: str, enters: bool
) -> None:
    changes = {"headers_id": f"refused-{kind}-{enters}", **REFUSED[kind]}
    sound = garbage.message(changes.pop("body", None), **changes)
    message_id = sound["headers"]["id"]
    redis.delete(keys.result(message_id))
    if enters:
        messages = open_in_flight(deployed.settings)
        with contextlib.closing(messages.store):
            messages.enter(message_id, BULK, json.dumps(sound).encode())
    redis.lpush(BULK, json.dumps(sound))
    eventually(lambda: bool(redis.exists(keys.result(message_id))), "an outcome")
    stored = json.loads(redis.get(keys.result(message_id)) or b"")
    assert (stored["status"], stored["task_id"]) == ("FAILURE", message_id)
    assert stored["result"]["exc_type"] == "InvalidMessageError"
    assert open_letters(deployed.settings).get(stored["result"]["dead_letter"]) is not None
    assert not redis.exists(keys.open(message_id), keys.done(message_id))


def test_a_client_of_an_unknown_task_gets_the_error_that_celery_gives(
    deployed: Running, redis: Redis
) -> None:
    url = deployed.settings.redis_url.get_secret_value()
    plain = Celery(broker=url, backend=url)
    plain.conf.result_backend_transport_options = {"global_keyprefix": keys.prefix}
    answer = plain.send_task("no.such.task", queue=BULK)
    with pytest.raises(NotRegistered, match=r"no\.such\.task"):
        answer.get(timeout=TIMEOUT_S)


HEADERS = (
    *(
        "task",
        "id",
        "shadow",
        "eta",
        "expires",
        "root_id",
        "parent_id",
        "group",
        "origin",
        "lang",
        "argsrepr",
        "kwargsrepr",
    ),
    *(
        "retries",
        "replaced_task_nesting",
        "group_index",
        "timelimit",
        "stamped_headers",
        "stamps",
        "compression",
        "new",
    ),
)
PROPERTIES = (
    "delivery_tag",
    "delivery_info",
    "body_encoding",
    "reply_to",
    "correlation_id",
    "priority",
    "new",
)
STRINGS = (
    "",
    "\ud83d",
    "\udc00x",
    "\x00",
    "\u202e",
    "\u2028",
    '"',
    "\\",
    "größer 😀",
    "2026-11-27T00:00:00",
    "1",
    "x" * 5_000,
)


def test_no_string_in_any_header_wedges_a_worker(deployed: Running, redis: Redis) -> None:
    redis.delete(keys.dead_index)
    odd = [{f"headers_{name}": value} for name in HEADERS for value in STRINGS]
    odd += [{f"properties_{name}": value} for name in PROPERTIES for value in STRINGS]
    odd += [{f"headers_{value}": "odd"} for value in STRINGS if value]
    for changes in odd:
        redis.lpush(INTERACTIVE, json.dumps(garbage.message(**changes)))
    with Client(settings=deployed.settings) as client:
        assert client.classify("hi", timeout_s=TIMEOUT_S).intent == "greeting"
    eventually(lambda: redis.llen(INTERACTIVE) == 0, "all are taken")
    eventually(lambda: redis.hlen(keys.unacked) == 0, "nothing left unacknowledged")
    eventually(lambda: redis.zcard(keys.open_index) == 0, "nothing left open")
    letters = list(open_letters(deployed.settings).find())
    assert {letter.reason for letter in letters} == {dead_letters.MALFORMED}
    assert len(odd) / 4 < len(letters) < len(odd)


def test_each_kind_of_garbage_says_what_is_wrong_with_it(deployed: Running, redis: Redis) -> None:
    letters = open_letters(deployed.settings)
    redis.delete(keys.dead_index)
    redis.lpush(BULK, garbage.KINDS["a compression bomb"]())
    eventually(lambda: letters.count() == 1, "the bomb in the dead letters")
    (letter,) = letters.find()
    assert "compressed" in letter.detail
    found = letters.get(letter.id)
    assert found is not None
    assert 0 < len(found.payload) <= dead_letters.MAX_MALFORMED_BYTES
    with pytest.raises(errors.InvalidMessageError, match="cannot be replayed"):
        letters.replay(found)


def test_a_message_that_breaks_the_schema_is_a_dead_letter_that_can_be_replayed(
    deployed: Running, redis: Redis
) -> None:
    letters = open_letters(deployed.settings)
    redis.delete(keys.dead_index)
    with Client(settings=deployed.settings) as client:
        request = jobs.ClassifyRequest.model_construct(texts=[], users=[], user_of=None)
        message = client.submit_message(request)
        with pytest.raises(errors.InvalidMessageError) as failure:
            message.result(TIMEOUT_S)
        assert failure.value.dead_letter == message.id
    (letter,) = letters.find(dead_letters.Filter(reason=dead_letters.INVALID))
    assert (letter.id, letter.attempts, letter.queue) == (message.id, 1, BULK)
    assert letters.replay(letter)
    eventually(lambda: letters.count() == 1, "the same dead letter again")


def test_the_answer_of_one_worker_to_another_is_no_garbage(
    deployed: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each worker that starts asks which others are there."""
    monkeypatch.setattr(bootstrap, "_connect", lambda *_: None)
    with bootstrap.serving_app(deployed.settings) as app:
        assert app.control.inspect(timeout=2).ping()
    letters = open_letters(deployed.settings).find()
    assert [letter.queue for letter in letters if "pidbox" in letter.queue] == []
