"""What Celery itself gives up, by real workers: expired and revoked messages have an outcome, and do not come back."""

import datetime
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import TaskRevokedError
from redis import Redis

from pointsman_producer.client.client import Client
from pointsman_producer.client.handles import MessageHandle
from pointsman_shared import errors, names
from pointsman_shared.broker import config as broker_config
from pointsman_shared.settings import Settings
from tests.support.deadlines import eventually
from tests.support.default_keys import BULK, keys
from tests.support.running import Running

TIMEOUT_S = 30
PAST = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture
def settings(shared_deployment: Running) -> Settings:
    return shared_deployment.settings


@pytest.fixture
def app(settings: Settings) -> Iterator[Celery]:
    with broker_config.make_app(settings) as app:
        yield app


def send(app: Celery, **options: Any) -> Any:
    request = {"texts": ["hi", "ciao"], "batch": "given up"}
    return app.send_task(
        names.CLASSIFY_TASK, args=(request,), task_id=str(uuid.uuid4()), queue=BULK, **options
    )


def test_an_expired_message_has_its_outcome_and_is_not_published_again(
    app: Celery, client: Client, redis: Redis
) -> None:
    redis.delete(keys.batch("given up"))
    sent = [send(app, expires=PAST) for _ in range(3)]
    for one in sent:
        with pytest.raises(TaskRevokedError, match="expired"):
            one.get(timeout=TIMEOUT_S)
        assert one.state == "REVOKED"
    eventually(lambda: redis.zcard(keys.open_index) == 0, "nothing is open")
    assert not redis.exists(*(keys.open(one.id) for one in sent))
    assert client.progress("given up") == {"cancelled": 6}


def test_a_client_that_waits_for_an_expired_message_gets_an_error(app: Celery, client: Client) -> None:
    waiting = MessageHandle(str(uuid.uuid4()))
    client._inbox.expect(waiting.id, waiting.future)
    app.send_task(
        names.CLASSIFY_TASK,
        args=({"texts": ["hi"]},),
        task_id=waiting.id,
        queue=BULK,
        expires=PAST,
        reply_to=client.id,
    )
    with pytest.raises(errors.CancelledError, match="it is expired, and was not done"):
        waiting.result(TIMEOUT_S)


def test_a_revoked_message_has_its_outcome_and_stays_revoked(app: Celery, redis: Redis) -> None:
    sent = send(app, countdown=4)
    eventually(lambda: redis.hlen(keys.unacked) > 0, "a worker holds it")
    app.control.revoke(sent.id)
    with pytest.raises(TaskRevokedError, match="revoked"):
        sent.get(timeout=TIMEOUT_S)
    # Celery's control command stores the outcome at once; the message is closed when its time comes.
    eventually(lambda: not redis.exists(keys.open(sent.id)), "it is closed")
    assert redis.zscore(keys.open_index, sent.id) is None
