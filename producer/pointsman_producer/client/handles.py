"""Handles of jobs in flight: their state and their results."""

import contextlib
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

import pydantic_core

from pointsman_producer.client.results import STATUS_BYTES
from pointsman_shared import errors, names
from pointsman_shared.wire import jobs

Status = Literal["pending", "done", "failed"]
T = TypeVar("T")


class _Pending(Generic[T]):
    """A message in flight, whose result is stored under its id."""

    def __init__(self, message_id: str) -> None:
        self.id = message_id
        self.future: Future[bytes] = Future()
        self.is_sent = True

    @property
    def status(self) -> Status:
        """`pending`, `done` or `failed`."""
        if not self.future.done():
            return "pending"
        return "failed" if isinstance(self._outcome, Exception) else "done"

    def done(self) -> bool:
        """Tell whether the outcome is there."""
        return self.future.done()

    def result(self, timeout_s: float | None = None) -> T:
        """Wait for the result; without a timeout, wait for ever.

        Raises:
            ResultTimeoutError: The result did not arrive in time; the message is still in flight.
            PointsmanError: The worker could not do it; `is_retryable` tells whether to try again.
        """
        if not self.future.done():
            try:
                with contextlib.suppress(futures.CancelledError):
                    self.future.exception(timeout_s)
            except TimeoutError:
                raise self.timeout(timeout_s) from None
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome

    def timeout(self, timeout_s: float | None) -> errors.ResultTimeoutError:
        """Return the error that says what was waited for in vain."""
        missing = "no outcome of {} within {} s; are workers running?"
        if not self.is_sent:
            missing = "{} could not be sent within {} s: the queue is full, or Redis does not answer"
        return errors.ResultTimeoutError(missing.format(self.id, timeout_s))

    @cached_property
    def _outcome(self) -> T | Exception:
        try:
            return self._decode(self.future.result(timeout=0))
        except futures.CancelledError:
            return errors.ResultTimeoutError(
                f"{self.id} was given up, or the client was closed, before it was done"
            )
        except Exception as error:  # it is raised again for each caller
            return error

    def _decode(self, raw: bytes) -> T:
        raise NotImplementedError


class MessageHandle(_Pending[jobs.ClassifyReply]):
    """A message of `pointsman.classify` in flight; its result has one entry for each text."""

    def _decode(self, raw: bytes) -> jobs.ClassifyReply:
        if b'"SUCCESS"' not in raw[:STATUS_BYTES]:
            payload(raw)
        return jobs.StoredReply.model_validate_json(raw).result


class Handle:
    """One job in flight: its `text` as it was submitted, its message and its place in it."""

    def __init__(self, message: MessageHandle, place: int, text: str) -> None:
        self.id = names.job_id(message.id, place)
        self.text = text
        self.message = message
        self._place = place

    @property
    def status(self) -> Status:
        """`pending`, `done` or `failed`."""
        return self.message.status

    def done(self) -> bool:
        """Tell whether the outcome is there."""
        return self.message.done()

    def result(self, timeout_s: float | None = None, *, include_text: bool = True) -> jobs.Outcome:
        """Wait for the outcome; see `MessageHandle.result`."""
        reply = self.message.result(timeout_s)
        return jobs.outcome(reply, self._place, self.text if include_text else None)


class TaskHandle(_Pending[T]):
    """A training run or a question to the registry in flight."""

    def __init__(
        self, message_id: str, decode: Callable[[Any], T], fetch: Callable[[str], bytes | None]
    ) -> None:
        super().__init__(message_id)
        self._decode_value = decode
        self._fetch = fetch

    def progress(self) -> jobs.TrainProgress | None:
        """Return how far a training run has come; None before its start and after its end."""
        raw = self._fetch(self.id)
        if raw is None or (stored := pydantic_core.from_json(raw)).get("status") != "PROGRESS":
            return None
        return jobs.TrainProgress.model_validate(stored["result"])

    def _decode(self, raw: bytes) -> T:
        return self._decode_value(payload(raw))


def payload(raw: bytes) -> Any:  # noqa: ANN401  any JSON value
    """Return the value of a stored result; raise the error of a failed task, in its own class if it is one of ours."""
    stored = pydantic_core.from_json(raw)
    if stored["status"] == "SUCCESS":
        return stored["result"]
    failure = stored["result"] if isinstance(stored["result"], dict) else {}
    arguments = failure.get("exc_message", stored["status"])
    message = " ".join(map(str, arguments)) if isinstance(arguments, list | tuple) else str(arguments)
    kind = getattr(errors, str(failure.get("exc_type")), None)
    if stored["status"] == "REVOKED":
        kind, message = errors.CancelledError, f"it is {message}, and was not done"
    if isinstance(kind, type) and issubclass(kind, errors.PointsmanError):
        error = kind(message)
    else:
        error = errors.JobFailedError(f"{failure.get('exc_type', 'the task failed')}: {message}")
    # It holds the message.
    error.dead_letter = failure.get("dead_letter")
    if failure.get("remedy") in list(errors.Remedy):
        error.remedy = errors.Remedy(failure["remedy"])
    raise error
