"""How every task of ours is delivered: each attempt is counted, its effects happen once, a failure explains itself.

A task that inherits from `LedgerTask` only contains the work; second deliveries, repeated attempts and cancelled batches
are handled here, for all kinds of jobs alike.
"""

import base64
import contextlib
import json
import logging
import os
import time
import traceback
import uuid
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from celery import Celery, Task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError

from pointsman_shared import errors
from pointsman_shared.settings import Settings
from pointsman_shared.store import dead_letters
from pointsman_shared.store.connection import UNAVAILABLE
from pointsman_shared.store.keys import Keys
from pointsman_workers.delivery import payloads
from pointsman_workers.delivery.channel import Intake
from pointsman_workers.delivery.in_flight import InFlight
from pointsman_workers.delivery.ledger import MAX_ATTEMPTS, AlreadyDoneError, Attempt, Ledger
from pointsman_workers.process import refresh
from pointsman_workers.process.pauses import Pauses
from pointsman_workers.process.per_process import PerProcess

logger = logging.getLogger(__name__)

# A job that ignores the soft limit is killed this much later.
KILL_AFTER_S: Final = 5
# A message is delivered again after the visibility timeout, even while a worker runs it.
SHARE_OF_VISIBILITY: Final = 2 / 3

_REASONS: Final[dict[type[errors.PointsmanError], str]] = {
    errors.PoisonError: dead_letters.POISON,
    errors.TimeLimitError: dead_letters.TIME_LIMIT,
    errors.InvalidMessageError: dead_letters.INVALID,
}


class WorkerApp(Celery):
    """A Celery application that hands its parts to its consumer and its tasks."""

    events_cls = "pointsman_workers.delivery.events:Events"
    keys: Keys
    ledger: PerProcess[Ledger]
    in_flight: PerProcess[InFlight]
    intake: Intake
    pauses: PerProcess[Pauses]


class Limits(NamedTuple):
    """How long a job may take before it is asked to end, and before it is killed."""

    soft_s: int
    hard_s: int


def serving_limits(settings: Settings) -> Limits:
    """Return the time limits of everything but training."""
    soft = int(settings.visibility_timeout_s * SHARE_OF_VISIBILITY)
    return Limits(soft_s=soft, hard_s=soft + KILL_AFTER_S)


def training_limits(settings: Settings) -> Limits:
    """Return the time limits of training."""
    return Limits(soft_s=settings.train_time_limit_s, hard_s=settings.train_time_limit_s + KILL_AFTER_S)


class _InterruptedError(Exception):
    """The attempt was cut off, and says nothing about the job."""


class LedgerTask(Task):  # type: ignore[type-arg]  # celery's own class takes no parameters at run time
    """A task whose messages are delivered at least once and have effects exactly once."""

    abstract = True
    Request = "pointsman_workers.delivery.request:LedgerRequest"
    throws = (errors.PointsmanError,)
    # The ledger stores outcomes and failures, in one step with their effects.
    ignore_result = True
    store_errors_even_if_ignored = False
    stores_outcome = False
    # A request is never kept: replayed later, it would change what serves when no one asks for it.
    keeps_letters = False

    @property
    def ledger(self) -> Ledger:
        """The ledger of this process."""
        return self._parts.ledger()

    @property
    def _parts(self) -> WorkerApp:
        app: WorkerApp = self.app  # type: ignore[assignment]  # our tasks are registered on no other
        return app

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  off the wire
        """Run one delivery of a message. A task enters what has to end after its outcome into `request.after`."""
        with contextlib.ExitStack() as after:
            self.request.after = after  # type: ignore[attr-defined]  # a context takes any attribute
            try:
                return self._deliver(args, kwargs)
            except (errors.BrokerUnavailableError, AlreadyDoneError, _InterruptedError) as error:
                # Nothing happened here: the next delivery runs it when Redis is back, or finds the stored outcome.
                raise Reject(str(error), requeue=True) from error

    def present(self, outcome: Any) -> Any:  # noqa: ANN401  any JSON value
        """Return an outcome in the form in which it goes on through Celery."""
        return outcome

    def when_lost(self, message_id: str, payload: object) -> None:
        """Free what a delivery held whose process is gone; called in the worker's parent."""

    def digest(self, payload: object) -> str:  # noqa: ARG002  for those who have one
        """Return what tells the request from another one under the same id; empty if any is the same."""
        return ""

    def _deliver(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        message_id, payload = str(self.request.id), payloads.argument(args, kwargs)
        with needed():
            attempt = self.ledger.attempt(
                message_id, worker=self._worker(), batch=payloads.batch(payload), digest=self.digest(payload)
            )
        if attempt.is_other:
            with needed():
                self._set_aside(args, kwargs)
        if attempt.is_deferred or attempt.is_other:
            raise Ignore
        if attempt.is_done:
            return self._answer_again(message_id, attempt.stored)
        try:
            _check(attempt, payloads.batch(payload))
            result = self._run(args, kwargs)
        except errors.BrokerUnavailableError:
            raise
        except errors.PointsmanError as error:
            with needed():
                self._give_up(message_id, payload, error, attempts=attempt.count)
            raise
        if self.stores_outcome:
            return result
        with needed():
            return self.ledger.finish(message_id, result, client_id=self.request.reply_to)

    def _answer_again(self, message_id: str, stored: Any) -> Any:  # noqa: ANN401  any JSON value
        """Tell the client that its message was done before, and return the stored outcome."""
        self.ledger.notify(self.request.reply_to or "", message_id)
        if stored is None:
            raise Ignore
        return self.present(stored)

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        if len(args) + len(kwargs) != 1:
            msg = f"{self.name} takes exactly one argument, the request; {len(args) + len(kwargs)} were given"
            raise errors.InvalidMessageError(msg)
        started = time.monotonic()
        try:
            return self.run(*args, **kwargs)
        except (errors.PointsmanError, AlreadyDoneError):
            raise
        except SoftTimeLimitExceeded as error:
            if self._parts.pauses().since(started):
                msg = "its process stood still"
                raise _InterruptedError(msg) from error
            raise too_slow(self.soft_time_limit) from error
        except Exception as error:
            failure = unexpected(error)
            logger.error("%s[%s] failed unexpectedly: %s", self.name, self.request.id, failure)
            raise failure from None

    def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: object) -> None:  # noqa: ANN401, ARG002  Celery's hook
        """Give up a job that the worker's parent had to end, because it passed its hard time limit.

        A job whose process was lost is still open in the ledger, and is delivered again.
        """
        if isinstance(exc, (errors.PointsmanError, WorkerLostError)):
            return
        error = too_slow(self.time_limit) if isinstance(exc, TimeLimitExceeded) else unexpected(exc)
        try:
            self._give_up(task_id, payloads.argument(tuple(args), dict(kwargs)), error)
        except UNAVAILABLE:
            logger.warning("%s[%s] was ended; Redis is away, so it will be tried again", self.name, task_id)

    def _give_up(
        self, message_id: str, payload: object, error: errors.PointsmanError, *, attempts: int = 0
    ) -> None:
        # The client that cancelled it, or asked while a tier was being trained, has its answer; no more is to be done.
        answered = isinstance(error, (errors.CancelledError, errors.BusyError))
        letter = self._letter(
            message_id,
            error,
            reason=reason_of(error),
            batch=payloads.batch(payload) or "",
            texts=payloads.texts(payload),
            # The attempt that finds the message to be poison runs nothing.
            attempts=attempts - isinstance(error, errors.PoisonError),
            retryable=isinstance(error, errors.RetryableError),
        )
        self.ledger.fail(
            letter, error, client_id=self.request.reply_to, keep=self.keeps_letters and not answered
        )

    def _set_aside(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Keep a message as a dead letter whose id is that of another request, and leave that one alone."""
        body = base64.b64encode(json.dumps([args, kwargs, {}]).encode()).decode()
        headers = {"task": self.name, "id": self.request.id}
        error = errors.ConflictError(f"message id {self.request.id} is that of another request")
        letter = self._letter(
            f"conflict-{uuid.uuid4().hex}",
            error,
            reason=dead_letters.MALFORMED,
            payload=json.dumps({"headers": headers, "body": body}).encode(),
        )
        self._parts.in_flight().letters.bury(letter)
        logger.warning("%s is now a dead letter: %s", self.name, error)

    def _letter(
        self,
        letter_id: str,
        error: errors.PointsmanError,
        **facts: Any,  # noqa: ANN401  the fields of DeadLetter
    ) -> dead_letters.DeadLetter:
        """Make a dead letter of this task, from this worker."""
        return dead_letters.DeadLetter(
            id=letter_id,
            error=type(error).__name__,
            detail=str(error),
            queue="",
            task=str(self.name),
            worker=self._worker(),
            died_at=self.ledger.now(),
            versions=refresh.versions(),
            **facts,
        )

    def _worker(self) -> str:
        return f"{self.request.hostname or 'parent'}:{os.getpid()}"


@contextlib.contextmanager
def needed() -> Iterator[None]:
    """Return the message to its queue also if Redis is full: what the ledger does not know did not happen."""
    try:
        yield
    except errors.QueueFullError as error:
        raise errors.BrokerUnavailableError(str(error)) from error


def reason_of(error: errors.PointsmanError) -> str:
    """Return the kind of dead letter that an error makes."""
    return _REASONS.get(type(error), dead_letters.FAILED)


def too_slow(limit_s: float | None) -> errors.TimeLimitError:
    """Describe a job that was stopped at its time limit."""
    return errors.TimeLimitError(f"stopped after its time limit of {limit_s or 0:g} s")


def unexpected(error: Exception) -> errors.PointsmanError:
    """Describe an unexpected error by its type and place: its own text may quote the input."""
    places = traceback.extract_tb(error.__traceback__)
    where = f" at {os.path.basename(places[-1].filename)}:{places[-1].lineno}" if places else ""
    kind = errors.UnavailableError if errors.can_pass(error) else errors.JobFailedError
    return kind(f"{type(error).__name__}{where}")


def _check(attempt: Attempt, batch: str | None) -> None:
    if attempt.is_cancelled:
        msg = f"batch {batch} was cancelled"
        raise errors.CancelledError(msg, errors.Remedy.START_OVER)
    if attempt.count > MAX_ATTEMPTS:
        msg = f"attempted {MAX_ATTEMPTS} times and never finished: it seems to kill its worker"
        raise errors.PoisonError(msg)
