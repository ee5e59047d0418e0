"""Real processes under real faults: everything submitted has one outcome, whatever is killed meanwhile."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pointsman_producer.client.client import Client
from pointsman_producer.client.users import checked_request
from pointsman_shared import errors
from tests.chaos import poison, scenarios
from tests.chaos.stage import Stage, ground, stage
from tests.support.default_keys import BULK, SERVING, keys
from tests.support.ledgers import open_letters

pytestmark = pytest.mark.slow


@pytest.fixture
def set_up(tmp_path: Path) -> Iterator[Stage]:
    with ground() as shared, stage(tmp_path, shared, pause_s=0.0) as set_up:
        yield set_up


def test_nothing_is_lost_or_doubled_whatever_happens() -> None:
    once = ("kill_worker", "stop_worker", "kill_beat", "kill_redis", "pause_redis", "fill_redis", "delay")
    more = ("reset_connections", "break_flags", "submit_poison", "push_garbage")
    faults = {"kill_child": 3, **dict.fromkeys((*once, *more), 1)}
    [verdict] = scenarios.ours(faults, seed=1, texts=5_000, gap_s=0.5, settle_s=90)
    assert verdict.is_clean, (verdict.line(), verdict.notes)
    assert (verdict.texts, verdict.faults) == (5_000, faults)
    assert verdict.compared > 0


def test_a_message_that_kills_its_worker_is_attempted_three_times_and_delays_no_other(set_up: Stage) -> None:
    deadly = checked_request(["hi", poison.TEXT], [None, None])
    with Client(settings=set_up.settings) as client:
        poisoned, sound = [], []
        for place in range(600):
            if place % 120 == 60:
                poisoned.append(client.submit_message(deadly))
            sound.append(client.submit_message(checked_request(["hi"], [None])))
        assert all(message.result(60).intent == ["greeting"] for message in sound)
        for message in poisoned:
            with pytest.raises(errors.PoisonError) as failure:
                message.result(60)
            assert failure.value.dead_letter == message.id
    starts = Counter(set_up.starts_file.read_text().split())
    assert [starts[message.id] for message in poisoned] == [3] * 5
    letters = open_letters(set_up.settings).find()
    assert {(letter.reason, letter.attempts, letter.texts) for letter in letters} == {("poison", 3, 2)}


def test_a_message_lost_between_queue_and_worker_is_published_again(set_up: Stage) -> None:
    with Client(settings=set_up.settings) as client, set_up.redis.client() as redis:
        # What a kill between kombu's two steps leaves behind: the ledger's entry, and the message nowhere.
        message = client.submit_message(checked_request(["hi"], [None]), queue="no-worker")
        redis.delete("no-worker")
        redis.hset(keys.open(message.id), "queue", BULK)
        redis.zadd(keys.open_index, {message.id: time.time() - 1_000})
        assert message.result(30).intent == ["greeting"]


def test_a_producer_rides_out_a_short_outage_and_says_clearly_that_a_long_one_is_there(set_up: Stage) -> None:
    with Client(settings=set_up.settings) as client:
        client.classify("hi")
        set_up.redis.kill()
        back = threading.Timer(1.0, set_up.redis.restart)
        back.start()
        assert client.submit_message(checked_request(["hi"], [None])).result(30).intent == ["greeting"]
        back.join()
        set_up.redis.kill()
        with pytest.raises(errors.BrokerUnavailableError):
            client.submit_message(checked_request(["hi"], [None]), message_id="refused")
        set_up.redis.restart()
        with set_up.redis.client() as redis:
            assert redis.zscore(keys.open_index, "refused") is None
            assert not redis.exists(keys.open("refused"), *SERVING)
        assert client.classify("hi").intent == "greeting"
