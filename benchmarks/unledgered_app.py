"""The serving application without the ledger of open messages: no entries, no starts counted, nothing published again.

What is left is what `acks_late` gives. Outcomes are stored as ever.
"""

from pointsman_workers import app as serving_app
from pointsman_workers import bootstrap
from pointsman_workers.delivery import consumer
from pointsman_workers.delivery.ledger import Begun, RedisLedger

app = serving_app.app


def begin(*_: object, **__: object) -> Begun:
    """Let every delivery run, uncounted."""
    return Begun(starts=1, is_done=False, is_cancelled=False, is_put_off=False, stored=None)


def nothing(*_: object, **__: object) -> None:
    """Do nothing."""


RedisLedger.begin = begin  # type: ignore[method-assign]
consumer.enter = nothing
bootstrap.start_reconciler = nothing
