"""What is no sound message, on real queues of real workers: put aside with a reason, in nobody's way."""

import contextlib
import json
import random

import pytest
from redis import Redis

from pointsman_producer.client.client import Client
from pointsman_producer.client.users import checked_request
from pointsman_shared import errors, names
from pointsman_shared.settings import Settings
from pointsman_shared.store import dead_letters, keys
from pointsman_shared.wire import jobs
from pointsman_workers import bootstrap
from tests.support import garbage
from tests.support.deadlines import eventually
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
def test_garbage_is_put_aside_and_stops_nobody(deployed: Running, redis: Redis, times: int) -> None:
    redis.delete(keys.DEAD_INDEX)
    pids = deployed.deployment.pids()
    letters = open_letters(deployed.settings)
    pushed = [kind() for kind in garbage.KINDS.values() for _ in range(times)]
    random.shuffle(pushed)
    with Client(settings=deployed.settings) as client:
        answered = []
        for place, raw in enumerate(pushed):
            redis.lpush(random.choice(names.SERVING_QUEUES), raw)
            if place % 10 == 0:
                answered.append(client.submit_message(checked_request(["hi"], [None])))
        assert all(message.result(TIMEOUT_S).intent == ["greeting"] for message in answered)
        eventually(lambda: letters.count() == len(pushed), "everything else in the dead letters")
    assert {letter.reason for letter in letters.find()} == {dead_letters.MALFORMED}
    assert all(letter.detail and letter.worker and letter.versions for letter in letters.find())
    assert deployed.deployment.pids() == pids
    eventually(lambda: redis.hlen(keys.UNACKED) == 0, "nothing left unacknowledged")
    # What is left open would be published again for ever.
    eventually(lambda: redis.zcard(keys.OPEN_INDEX) == 0, "nothing left open")
    assert list(redis.scan_iter(keys.open("*"))) == []
    assert [line for line in deployed.log if "secret" in line] == []
    assert not any(garbage.SECRET in letter.detail for letter in letters.find())


def test_garbage_under_the_id_of_a_sound_message_leaves_that_one_open(
    deployed: Running, redis: Redis
) -> None:
    messages = open_in_flight(deployed.settings)
    with contextlib.closing(messages.store):
        messages.enter("taken", "nobody-listens", json.dumps({"body": "sound"}).encode())
        messages.disown("taken", "garbage")
        assert redis.zscore(keys.OPEN_INDEX, "taken")
        messages.disown("taken", "sound")
    assert not redis.exists(keys.open("taken"), keys.OPEN_INDEX)


def test_each_kind_of_garbage_says_what_is_wrong_with_it(deployed: Running, redis: Redis) -> None:
    letters = open_letters(deployed.settings)
    redis.delete(keys.DEAD_INDEX)
    redis.lpush(names.BULK_QUEUE, garbage.KINDS["a compression bomb"]())
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
    redis.delete(keys.DEAD_INDEX)
    with Client(settings=deployed.settings) as client:
        request = jobs.ClassifyRequest.model_construct(texts=[], users=[], user_of=None)
        message = client.submit_message(request)
        with pytest.raises(errors.InvalidMessageError) as failure:
            message.result(TIMEOUT_S)
        assert failure.value.dead_letter == message.id
    (letter,) = letters.find(dead_letters.Filter(reason=dead_letters.INVALID))
    assert (letter.id, letter.attempts, letter.queue) == (message.id, 1, names.BULK_QUEUE)
    assert letters.replay(letter)
    eventually(lambda: letters.count() == 1, "the same dead letter again")


def test_what_another_worker_answers_to_a_worker_is_no_garbage(
    deployed: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each worker asks the others who is there when it begins."""
    monkeypatch.setattr(bootstrap, "_connect", lambda *_: None)
    with bootstrap.serving_app(deployed.settings) as app:
        assert app.control.inspect(timeout=2).ping()
    letters = open_letters(deployed.settings).find()
    assert [letter.queue for letter in letters if "pidbox" in letter.queue] == []
