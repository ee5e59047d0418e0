"""The serving application without the ledger of open messages: no entries, no attempts counted, nothing published again.

What is left is what `acks_late` gives. Outcomes are stored as ever.
"""

from pointsman_workers import app as serving_app
from pointsman_workers.delivery.consumer import WatchfulConsumer
from pointsman_workers.delivery.ledger import Attempt, Ledger
from pointsman_workers.delivery.reconciler import Reconciler

app = serving_app.app


def attempt(*_: object, **__: object) -> Attempt:
    """Let every delivery run, uncounted."""
    return Attempt(count=1, is_done=False, is_cancelled=False, is_deferred=False, is_other=False, stored=None)


def nothing(*_: object, **__: object) -> None:
    """Do nothing."""


Ledger.attempt = attempt  # type: ignore[method-assign]
WatchfulConsumer._enter = nothing  # type: ignore[method-assign]
Reconciler.step = nothing  # type: ignore[method-assign]
