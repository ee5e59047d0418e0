"""The parts of delivery, on a Redis of the test's."""

import json
from typing import Any

from pointsman_shared.settings import Settings
from pointsman_shared.store import dead_letters
from pointsman_shared.store.connection import Store
from pointsman_workers.delivery.in_flight import InFlight
from pointsman_workers.delivery.ledger import Ledger
from pointsman_workers.shadow.backlog import KEEP
from tests.support.default_keys import keys

# A reply to a message of one text.
CLASSIFIED = {
    "message_id": "m",
    "intent": ["greeting"],
    "confidence": [0.9],
    "ranking": [[0]],
    "ranking_confidence": [[0.9]],
    "route_of": [0],
    "routes": [],
}


def open_ledger(settings: Settings, **options: Any) -> Ledger:
    """Open a ledger as a worker does, with the shadow's part in it."""
    return Ledger(Store.connect_patiently(settings), settings, extension=KEEP, **options)


def open_in_flight(settings: Settings) -> InFlight:
    """Open the messages in flight as a worker's parent does."""
    return InFlight.open(Store.connect_patiently(settings), settings)


def open_letters(settings: Settings) -> dead_letters.DeadLetters:
    """Open the dead letters."""
    return dead_letters.DeadLetters(Store.connect(settings), ttl_s=60)


def stored(settings: Settings, message_id: str) -> Any:
    """Read the outcome of a message, or None."""
    raw = Store.connect(settings).get(keys.result(message_id))
    return json.loads(raw)["result"] if raw else None
