"""Running a training once: its claim on the tier is renewed while it runs, and ends with its trainer."""

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Final

from pointsman_shared import errors
from pointsman_shared.store import training_claims
from pointsman_shared.store.training_claims import TrainingClaims
from pointsman_workers.delivery.ledger import AlreadyDoneError

logger = logging.getLogger(__name__)

WAIT_S: Final = 0.5
# A run checks its claim at each step, but asks Redis not more often than this.
FRESH_S: Final = 0.25


@contextlib.contextmanager
def held(claims: TrainingClaims, tier: str, run: str) -> Iterator[Callable[[], None]]:
    """Hold the claim on a tier's training, and yield a function that raises if the run must stop.

    A run that is delivered twice runs once: the second delivery waits for the first, and continues in its place if the
    first one dies.
    """
    claim = _Claim(claims, tier, run)
    claim.take()
    keeper = threading.Thread(target=claim.keep, name="pointsman: claim on a training", daemon=True)
    keeper.start()
    try:
        claim.check()
        yield claim.check
    finally:
        claim.stopped.set()
        keeper.join()
        # If Redis is away, the claim ends by itself.
        with contextlib.suppress(errors.RetryableError):
            claims.release(tier, run, claim.holder)


class _Claim:
    def __init__(self, claims: TrainingClaims, tier: str, run: str) -> None:
        self.holder = uuid.uuid4().hex
        self.stopped = threading.Event()
        self._claims = claims
        self._tier = tier
        self._run = run
        self._state = training_claims.MINE
        self._renewed_at = 0.0

    def take(self) -> None:
        while (state := self._claims.claim(self._tier, self._run, self.holder)) == training_claims.HELD:
            time.sleep(WAIT_S)
        if state == training_claims.DONE:
            msg = f"run {self._run} is finished"
            raise AlreadyDoneError(msg)
        if state != training_claims.MINE:
            msg = f"tier {self._tier} is being trained already, by run {state}: wait for it, or cancel it"
            raise errors.BusyError(msg)

    def check(self) -> None:
        """Raise if the run must stop."""
        if time.monotonic() - self._renewed_at > FRESH_S:
            self._renew()
        if self._state == training_claims.CANCELLED:
            msg = f"the training of tier {self._tier} was cancelled"
            raise errors.CancelledError(msg)
        if self._state == training_claims.LOST:
            msg = f"another run trains tier {self._tier} by now"
            raise errors.BusyError(msg)

    def keep(self) -> None:
        """Renew the claim until the run ends."""
        while not self.stopped.wait(self._claims.renewal_s):
            self._renew()

    def _renew(self) -> None:
        self._renewed_at = time.monotonic()
        try:
            self._state = self._claims.renew(self._tier, self._run, self.holder)
        except errors.RetryableError as error:
            logger.warning("the claim on tier %s cannot be renewed now: %s", self._tier, type(error).__name__)
