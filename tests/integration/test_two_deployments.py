"""Two deployments and another team's Celery application in one Redis database: each sees only what is its own.

Each deployment has a user of an ACL for its own names, so that Redis refuses what it does to the names of others.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from celery import Celery, chain
from celery.result import AsyncResult
from redis import Redis

from pointsman_producer.client.client import Client
from pointsman_producer.client.users import checked_request
from pointsman_producer.diagnostics import examination, probe
from pointsman_shared import names
from pointsman_shared.broker import config as broker_config
from pointsman_shared.store.connection import Store
from pointsman_shared.store.labels import Labels
from pointsman_shared.wire import jobs
from tests.support import flag_config, foreign_app, reaper, running, secure_redis
from tests.support.deadlines import eventually, outlast
from tests.support.ledgers import open_letters
from tests.support.redis_server import RedisServer
from tests.support.running import Running

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 60
VISIBILITY_S = 10
PRO = jobs.User(id="ana", custom={"plan": "pro"})
REPLIES = "replies"
FOREIGN_KEY = re.compile(r"celery|replies|unacked|_kombu\.binding")
# The answers to a question, which live for seconds.
ANSWERS = re.compile(r"[0-9a-f-]+\.reply\.(blue|green)\.control\.pidbox")


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Both deployments and the other application."""

    server: RedisServer
    blue: Running
    green: Running
    foreign: Celery

    @property
    def both(self) -> tuple[Running, Running]:
        return self.blue, self.green


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(RedisServer.start())
        blue, green = (
            stack.enter_context(deployment(tmp_path_factory.mktemp(namespace), server, namespace))
            for namespace in ("blue", "green")
        )
        green.set_flags(flag_config.plan_flag(flag_config.TIER_FLAG, "gold"))
        foreign = stack.enter_context(foreign_app.make_app(server.url))
        stack.enter_context(foreign_worker(server.url))
        eventually(lambda: bool(foreign.control.ping()), "the other application's worker is there", TIMEOUT_S)
        yield House(server=server, blue=blue, green=green, foreign=foreign)


def deployment(
    folder: Path, server: RedisServer, namespace: str
) -> contextlib.AbstractContextManager[Running]:
    with server.client() as admin:
        rights = [*secure_redis.rights(namespace), f"~{REPLIES}*"]
        admin.execute_command("ACL", "SETUSER", namespace, "on", ">sesame", *rights)
    url = server.url.replace("redis://", f"redis://{namespace}:sesame@")
    extra = {"namespace": namespace, "visibility_timeout_s": VISIBILITY_S}
    return running.deployment(folder, redis_url=url, extra=extra, workers=1)


@contextlib.contextmanager
def foreign_worker(url: str) -> Iterator[None]:
    command = ["worker", "-c", "1", "-E", "-n", "foreign@%h", "-Q", f"celery,{REPLIES}"]
    with subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "tests.support.foreign_app", *command],
        env={**os.environ, "FOREIGN_REDIS_URL": url, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        reaper.adopt(process.pid)
        try:
            yield
        finally:
            process.terminate()
            process.wait(TIMEOUT_S)


@pytest.fixture
def redis(house: House) -> Iterator[Redis]:
    with house.server.client() as redis:
        yield redis


def classify(of: Running, message_id: str, batch: str) -> tuple[jobs.ClassifyReply, dict[str, int]]:
    with Client(settings=of.settings) as client:
        request = checked_request(["hi", "my parcel is late"], [PRO, PRO], batch)
        reply = client.submit_message(request, message_id=message_id).result(TIMEOUT_S)
        return reply, client.progress(batch)


def doctor(of: Running) -> list[tuple[str, str]]:
    found = examination.examine(of.settings, "here")
    return [(finding.what, finding.detail) for finding in found if finding.status != "ok"]


def test_the_same_ids_are_different_messages_and_batches(house: House) -> None:
    # A worker reads the flag file again within a second.
    eventually(lambda: tiers(classify(house.green, f"m-{time.time()}", "first")[0]) == {"base"}, "new flags")
    for tier, of in (("pro", house.blue), ("base", house.green)):
        for _ in range(2):
            reply, progress = classify(of, "m", "b")
            assert tiers(reply) == {tier}
            assert progress["done"] == 2
            assert {field.partition(":")[0] for field in progress} == {"done", tier}


def tiers(reply: jobs.ClassifyReply) -> set[str]:
    return {route.tier for route in reply.routes}


def test_a_question_is_answered_by_ones_own_workers(house: House) -> None:
    for of in house.both:
        namespace = of.settings.namespace
        with broker_config.make_app(of.settings) as app:
            queues = app.control.inspect(timeout=2).active_queues() or {}
        assert sorted(worker.partition("@")[0] for worker in queues) == ["serving", "trainer"]
        found = {queue["name"] for worker in queues.values() for queue in worker}
        assert found == {f"{namespace}.{name}" for name in ("interactive", "bulk", "shadow", "train")}
    answers = house.foreign.control.ping(timeout=2) or []
    assert [worker.partition("@")[0] for answer in answers for worker in answer] == ["foreign"]


def test_a_question_goes_to_the_workers_of_the_namespace_through_celerys_own_command(house: House) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "pointsman_shared.broker.app", "inspect", "ping", "-j"],
        env={**os.environ, **house.blue.settings.environ()},
        capture_output=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    assert sorted(worker.partition("@")[0] for worker in json.loads(done.stdout)) == ["serving", "trainer"]


def test_a_doctor_sees_the_processes_and_troubles_of_one_deployment(house: House, redis: Redis) -> None:
    pids = []
    for of in house.both:
        with Store.connect(of.settings) as store:
            pids.append({process["pid"] for process in probe.processes(store)})
    assert [len(each) for each in pids] == [1, 1]
    assert pids[0] != pids[1]
    trouble = json.dumps({"failures": 2, "reason": "slow", "until": 0})
    redis.hset("green:shadow:trouble", "pro@7", trouble)
    assert "pro@7" not in str(doctor(house.blue))
    assert "pro@7" in str(doctor(house.green))
    redis.delete("green:shadow:trouble")


def test_dead_letters_and_labels_are_those_of_one_deployment(house: House, redis: Redis) -> None:
    redis.lpush("blue.bulk", "no message")
    blue, green = (open_letters(of.settings) for of in house.both)
    eventually(lambda: blue.count() == 1, "it is a dead letter", TIMEOUT_S)
    assert [letter.queue for letter in blue.find()] == ["blue.bulk"]
    assert green.count() == 0
    labels = [Labels(Store.connect(of.settings), of.settings) for of in house.both]
    labels[0].add("m:0", {"text": "hi", "intent": "greeting", "tier": "pro"})
    assert [len(of_one.all()) for of_one in labels] == [1, 0]


def test_a_plain_client_reads_outcomes_with_one_setting_and_a_chain_goes_on_elsewhere(house: House) -> None:
    request = {"texts": ["hi", "bye"]}
    with Celery(broker=house.server.url, backend=house.server.url, set_as_current=False) as app:
        app.conf.result_backend_transport_options = {"global_keyprefix": "blue:"}
        result = app.send_task(names.CLASSIFY_TASK, args=[request], queue="blue.interactive")
        assert len(result.get(timeout=TIMEOUT_S)["intent"]) == 2
        first = app.signature(names.CLASSIFY_TASK, args=[request], queue="blue.bulk")
        last = app.signature("foreign.count", queue=REPLIES)
        counted = chain(first, last).apply_async()
    assert AsyncResult(counted.id, app=house.foreign).get(timeout=TIMEOUT_S) == 2


def test_the_other_applications_unacknowledged_messages_are_its_own(house: House, redis: Redis) -> None:
    long_ago = time.time() - 10 * VISIBILITY_S
    redis.zadd("unacked_index", {"tag": long_ago})
    redis.hset("unacked", "tag", json.dumps([{"body": "", "properties": {}, "headers": {}}, "", "celery"]))
    outlast(2.5 * VISIBILITY_S, "our workers would have restored it")
    assert redis.hdel("unacked", "tag") == 1
    redis.zrem("unacked_index", "tag")
    sent = house.foreign.send_task("foreign.count", args=[{"intent": ["a"]}])
    assert sent.get(timeout=TIMEOUT_S) == 1


def test_every_key_begins_with_its_namespace(house: House, redis: Redis) -> None:
    classify(house.blue, "k", "names")
    others = [key for raw in redis.scan_iter() if not re.match(r"(blue|green)[:.]", key := raw.decode())]
    assert {key for key in others if not FOREIGN_KEY.match(key) and not ANSWERS.fullmatch(key)} == set()
    # A plain client declares the queue that it sends to.
    assert {
        key for key in others if re.search("blue|green|pointsman", key) and not ANSWERS.fullmatch(key)
    } <= {
        f"_kombu.{table}.blue.{queue}"
        for table in ("binding", "binding_permanent")
        for queue in ("bulk", "interactive")
    }
