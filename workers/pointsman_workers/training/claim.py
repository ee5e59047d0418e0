"""One training per tier at a time, each run once: claims that a heartbeat keeps, and that end with their holder."""

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

import orjson

from pointsman_shared import errors
from pointsman_shared.wire import jobs
from pointsman_workers.training.training_book import Claim, State

logger = logging.getLogger(__name__)

WAIT_S = 0.5
# A run that makes steps asks at each, but not more often, whether it may go on.
FRESH_S = 0.25


class Book(Protocol):
    """Where claims are kept; see `RedisTrainingBook`."""

    @property
    def renewal_s(self) -> float:
        """Say how often a claim wants to be renewed."""
        ...

    def claim(self, tier: str, run: str, holder: str) -> Claim:
        """Ask for a tier."""
        ...

    def renew(self, tier: str, run: str, holder: str) -> State:
        """Keep a claim."""
        ...

    def finish(self, tier: str, run: str, holder: str, end: str) -> None:
        """Give the tier back and say how the run ended."""
        ...


def do_once(
    book: Book, tier: str, run: str, work: Callable[[Callable[[], None]], jobs.TrainReply]
) -> jobs.TrainReply:
    """Do a run, unless it was done before: then its end is what it was.

    A run that is delivered twice is done once; the second delivery waits for the first, and goes on in its place
    should it die.

    Args:
        book: Where claims are kept.
        tier: What the run trains.
        run: Its id.
        work: Does it; given a function to call now and then, which raises if the run is to stop.

    Raises:
        BusyError: Another run trains the tier.
        CancelledError: Somebody asked the run to stop.
        PointsmanError: What the work raises, also if it did so when it was done before.
    """
    with _Hold(book, tier, run) as hold:
        if hold.earlier is not None:
            return _end(hold.earlier)
        try:
            hold.check()
            reply = work(hold.check)
        except errors.PermanentError as error:
            hold.end(orjson.dumps({"error": type(error).__name__, "message": str(error)}).decode())
            raise
        hold.end(orjson.dumps({"reply": reply.model_dump(mode="json")}).decode())
        return reply


def _end(stored: str) -> jobs.TrainReply:
    end = orjson.loads(stored)
    if "reply" in end:
        return jobs.TrainReply.model_validate(end["reply"])
    kind = getattr(errors, end["error"], errors.JobFailedError)
    raise kind(end["message"])


class _Hold:
    """A claim on a tier, renewed by a thread for as long as the run takes."""

    def __init__(self, book: Book, tier: str, run: str) -> None:
        self.earlier: str | None = None
        self._book = book
        self._tier = tier
        self._run = run
        self._holder = uuid.uuid4().hex
        self._state: State = "mine"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="pointsman-claim", daemon=True)
        self._renewed_at = 0.0

    def __enter__(self) -> Self:
        while (claim := self._book.claim(self._tier, self._run, self._holder)).state == "held":
            time.sleep(WAIT_S)
        if claim.state == "busy":
            msg = f"tier {self._tier} is being trained already, by run {claim.detail}: wait for it, or cancel it"
            raise errors.BusyError(msg)
        if claim.state == "done":
            self.earlier = claim.detail
            return self
        self._renew()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def check(self) -> None:
        """Say whether the run may go on.

        Raises:
            CancelledError: Somebody asked it to stop.
            BusyError: It was silent for so long that another run took the tier.
        """
        if time.monotonic() - self._renewed_at > FRESH_S:
            self._renew()
        if self._state == "cancelled":
            msg = f"the training of tier {self._tier} was cancelled"
            raise errors.CancelledError(msg)
        if self._state == "lost":
            msg = f"another run trains tier {self._tier} by now"
            raise errors.BusyError(msg)

    def end(self, how: str) -> None:
        """Give the tier back; if Redis is away, the claim ends by itself."""
        self._stopped.set()
        self._thread.join()
        with contextlib.suppress(errors.RetryableError):
            self._book.finish(self._tier, self._run, self._holder, how)

    def _keep(self) -> None:
        while not self._stopped.wait(self._book.renewal_s):
            self._renew()

    def _renew(self) -> None:
        self._renewed_at = time.monotonic()
        try:
            self._state = self._book.renew(self._tier, self._run, self._holder)
        except errors.RetryableError as error:
            logger.warning("a claim on tier %s could not be renewed: %s", self._tier, type(error).__name__)
