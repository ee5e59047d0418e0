"""How every task of ours is delivered: counted before it runs, run once to effect, given up understandably.

A task that inherits from `LedgerTask` says nothing but what is to be done; that a delivery is the second one, the
fourth start, or cancelled is decided here, for all kinds of jobs alike.
"""

import logging
import os
import time
import traceback
from typing import Any, NamedTuple

from celery import Task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError

from pointsman_shared import errors, names
from pointsman_shared.settings import Settings
from pointsman_shared.store import dead_letters
from pointsman_workers import bootstrap
from pointsman_workers.delivery.ledger import LedgerUnavailableError
from pointsman_workers.process import refresh

logger = logging.getLogger(__name__)

# A job that does not heed the first limit is killed this much later.
KILL_AFTER_S = 5
# A message is delivered again after the visibility timeout, whether or not somebody still works on it.
SHARE_OF_VISIBILITY = 2 / 3

_REASONS: dict[type[errors.PointsmanError], str] = {
    errors.PoisonError: dead_letters.POISON,
    errors.TimeLimitError: dead_letters.TIME_LIMIT,
    errors.InvalidMessageError: dead_letters.INVALID,
}


class Limits(NamedTuple):
    """How long a job may take before it is told to end, and before it is ended."""

    soft_s: int
    hard_s: int


def limits(settings: Settings, task: str) -> Limits:
    """Give a kind of job its time limits."""
    wanted, visibility = settings.classify_time_limit_s, settings.visibility_timeout_s
    if task == names.TRAIN_TASK:
        wanted, visibility = settings.train_time_limit_s, settings.train_visibility_timeout_s
    soft = min(wanted, int(visibility * SHARE_OF_VISIBILITY))
    return Limits(soft_s=soft, hard_s=soft + KILL_AFTER_S)


class LedgerTask(Task):  # type: ignore[type-arg]  # celery's own class takes no parameters at run time
    """A task whose messages are delivered at least once and have effects exactly once.

    Attributes:
        stores_outcome: Whether the task stores its outcome itself, together with its other effects.
    """

    abstract = True
    throws = (errors.PointsmanError,)
    # The ledger stores outcomes and failures, in one step with what belongs to them.
    ignore_result = True
    store_errors_even_if_ignored = False
    stores_outcome = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  off the wire
        """Do one delivery of a message."""
        try:
            return self._deliver(args, kwargs)
        except LedgerUnavailableError as error:
            # Nothing was proven, so nothing happened: somebody does it again when Redis is back.
            raise Reject(error, requeue=True) from error

    def present(self, outcome: Any) -> Any:  # noqa: ANN401  any JSON value
        """Give an outcome the form in which it goes on through Celery."""
        return outcome

    def _deliver(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        ledger, message_id = bootstrap.ledger(), str(self.request.id)
        payload = payload_of(args, kwargs)
        begun = ledger.begin(
            message_id,
            worker=self._worker(),
            batch=batch_of(payload),
            max_starts=bootstrap.settings().max_starts,
        )
        if begun.is_put_off:
            raise Ignore
        if begun.is_done:
            ledger.notify(self.request.reply_to or "", message_id)
            if begun.stored is None:
                raise Ignore
            return self.present(begun.stored)
        try:
            if begun.is_cancelled:
                msg = f"the batch of {message_id} was cancelled"
                raise errors.CancelledError(msg)
            self._check_starts(begun.starts)
            result = self._run(args, kwargs)
        except errors.PointsmanError as error:
            if isinstance(error, LedgerUnavailableError):
                raise
            self._give_up(message_id, payload, error, starts=begun.starts)
            raise
        if self.stores_outcome:
            return result
        return ledger.finish(message_id, result, client_id=self.request.reply_to)

    def _check_starts(self, starts: int) -> None:
        allowed = bootstrap.settings().max_starts
        if starts > allowed:
            msg = f"begun {allowed} times and never finished: it seems to kill whoever takes it"
            raise errors.PoisonError(msg)

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        if len(args) + len(kwargs) != 1:
            msg = f"{self.name} takes exactly one argument, the request; {len(args) + len(kwargs)} were given"
            raise errors.InvalidMessageError(msg)
        try:
            return self.run(*args, **kwargs)
        except errors.PointsmanError:
            raise
        except (SoftTimeLimitExceeded, TimeoutError) as error:
            raise too_slow(self.soft_time_limit) from error
        except Exception as error:
            failure = unexpected(error)
            logger.error("%s[%s] failed unexpectedly: %s", self.name, self.request.id, failure)
            raise failure from None

    def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: object) -> None:  # noqa: ANN401, ARG002  Celery's hook
        """Give up what the worker's parent had to end: a job past its hard time limit.

        A job whose process was lost is still open in the ledger, and is published again.
        """
        if isinstance(exc, (errors.PointsmanError, WorkerLostError)):
            return
        error = too_slow(self.time_limit) if isinstance(exc, TimeLimitExceeded) else unexpected(exc)
        try:
            self._give_up(task_id, payload_of(tuple(args), dict(kwargs)), error)
        except LedgerUnavailableError:
            logger.warning("%s[%s] was ended; Redis is away, so it will be tried again", self.name, task_id)

    def _give_up(
        self, message_id: str, payload: object, error: errors.PointsmanError, *, starts: int = 0
    ) -> None:
        # Whoever called it off, or asked while a tier was being trained, has been told; nothing is to be done about it.
        keep = not isinstance(error, (errors.CancelledError, errors.BusyError))
        letter = dead_letters.DeadLetter(
            id=message_id,
            reason=reason_of(error),
            error=type(error).__name__,
            detail=str(error),
            queue="",
            task=str(self.name),
            batch=batch_of(payload) or "",
            texts=texts_of(payload),
            # The start that finds the message to be poison runs nothing.
            starts=starts - isinstance(error, errors.PoisonError),
            worker=self._worker(),
            died_at=time.time(),
            retryable=isinstance(error, errors.RetryableError),
            versions=refresh.versions(),
        )
        bootstrap.ledger().fail(letter, error, client_id=self.request.reply_to, keep=keep)

    def _worker(self) -> str:
        return f"{self.request.hostname or 'parent'}:{os.getpid()}"


def reason_of(error: errors.PointsmanError) -> str:
    """Say which kind of dead letter an error makes."""
    return _REASONS.get(type(error), dead_letters.FAILED)


def too_slow(limit_s: float | None) -> errors.TimeLimitError:
    """Say that a job was stopped at its time limit."""
    return errors.TimeLimitError(f"stopped after its time limit of {limit_s or 0:g} s")


def unexpected(error: Exception) -> errors.JobFailedError:
    """Say what went wrong, and where. The error's own text may quote what it choked on."""
    places = traceback.extract_tb(error.__traceback__)
    where = f" at {os.path.basename(places[-1].filename)}:{places[-1].lineno}" if places else ""
    return errors.JobFailedError(f"{type(error).__name__}{where}")


def payload_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
    """Give a task's only argument, however it was passed."""
    return next(iter((*args, *kwargs.values())), None)


def batch_of(payload: object) -> str | None:
    """Give the batch a payload names; it may not have been validated yet."""
    batch = payload.get("batch") if isinstance(payload, dict) else None
    return batch if isinstance(batch, str) and batch else None


def texts_of(payload: object) -> int:
    """Count the jobs of a payload that may not have been validated yet."""
    texts = payload.get("texts") if isinstance(payload, dict) else None
    return len(texts) if isinstance(texts, list) else 0
