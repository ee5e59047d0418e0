"""A Redis that loses its memory (without an append-only file, or by FLUSHALL), while a batch runs."""

import json
import threading

from redis import Redis

from pointsman_producer.client.client import Client
from pointsman_producer.client.window import Chunk, Window
from pointsman_producer.transcripts.reader import Conversation, Turn
from pointsman_shared.settings import Settings
from pointsman_workers.delivery.ledger import Ledger
from tests.support.default_keys import BULK
from tests.support.ledgers import CLASSIFIED, open_ledger

TIMEOUT_S = 30


def answer(redis: Redis, ledger: Ledger, client_id: str, messages: int) -> None:
    """Stand for a worker that answers so many messages."""
    for _ in range(messages):
        taken = redis.brpop([BULK], timeout=TIMEOUT_S)
        message_id = json.loads(taken[1])["headers"]["id"]  # type: ignore[index]  # it comes
        ledger.finish(message_id, {**CLASSIFIED, "message_id": message_id}, client_id=client_id)


def test_a_batch_sends_again_what_redis_forgot_and_nothing_else(
    client: Client, redis: Redis, settings: Settings
) -> None:
    window = Window(client, source="in.jsonl", timeout_s=TIMEOUT_S, look_s=0.3)
    for number in range(3):
        owner = Conversation(id=f"c{number}", user=None, turns=(Turn(0, "customer", "hi", None),), line=1)
        chunk = Chunk(number=number, owners=[owner], turns=list(owner.turns), position=0)
        window.send(chunk, chunk.request(), message_id=f"m{number}")
    ledger = open_ledger(settings)
    answer(redis, ledger, client.id, 1)
    assert client.lost(["m0", "m1", "m2", "m3"]) == ["m3"]
    assert window.take()[1].message_id == "m0"
    redis.flushall()
    worker = threading.Thread(target=answer, args=(redis, ledger, client.id, 2))
    worker.start()
    taken = [window.take()[1].message_id for _ in range(2)]
    worker.join()
    assert taken == ["m1", "m2"]
    assert redis.llen(BULK) == 0
