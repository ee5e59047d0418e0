"""The doctor's probe against a real Redis."""

import contextlib
import time
from collections.abc import Iterator

import pytest
from redis import Redis

from pointsman_producer.deployment import embedded_redis
from pointsman_producer.diagnostics import probe as health
from pointsman_shared import errors, names
from pointsman_shared.settings import Settings
from pointsman_shared.store import keys
from tests.unit.producer.diagnostics.test_probe import message


@pytest.fixture
def probe(redis_url: str) -> Iterator[health.Probe]:
    with contextlib.closing(health.Probe(Settings.model_validate({"redis_url": redis_url}))) as probe:
        yield probe


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as redis:
        yield redis


def test_the_server_says_its_version_and_policy(probe: health.Probe) -> None:
    report = probe.redis()
    assert report.version[0].isdigit()
    assert report.eviction == "noeviction"


def test_a_server_that_is_away_is_said() -> None:
    settings = Settings.model_validate({"redis_url": f"redis://127.0.0.1:{embedded_redis.free_port()}/0"})
    with contextlib.closing(health.Probe(settings)) as probe, pytest.raises(errors.BrokerUnavailableError):
        probe.redis()


def test_a_queue_is_as_old_as_the_message_that_is_taken_next(probe: health.Probe, redis: Redis) -> None:
    for sent_at in (100.0, 200.0):
        redis.lpush(names.BULK_QUEUE, message([[{"submitted_at": sent_at}], {}, {}]))
    reports = {report.name: report for report in probe.queues(now=250.0)}
    assert (reports["bulk"].length, reports["bulk"].age_s) == (2, 150.0)
    assert (reports["train"].length, reports["train"].age_s) == (0, None)


def test_messages_under_way_are_counted_for_serving_and_training(probe: health.Probe, redis: Redis) -> None:
    redis.hset("unacked", "one", "x")
    redis.hset("unacked:train", "two", "x")
    assert probe.unacknowledged() == 2


def test_processes_are_read_wherever_they_are(probe: health.Probe, redis: Redis) -> None:
    said = {"tiers": "{}", "flags": "{}", "problems": "[]", "versions": "{}"}
    for host, pid in (("b", 2), ("a", 1)):
        key = keys.process(host, pid)
        redis.hset(key, mapping={"host": host, "pid": pid, "updated_at": time.time()})
        for field, value in said.items():
            redis.hset(key, field, value)
    assert [(report.host, report.pid) for report in probe.processes()] == [("a", 1), ("b", 2)]


def test_without_workers_nobody_consumes(probe: health.Probe) -> None:
    assert probe.consumers() == {}
