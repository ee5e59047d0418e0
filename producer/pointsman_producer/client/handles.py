"""Handles of jobs in flight: their state and their results."""

import concurrent.futures
from collections.abc import Callable
from concurrent.futures import Future
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

import pydantic_core

from pointsman_producer.client.results import STATUS_BYTES
from pointsman_shared import errors, names
from pointsman_shared.wire import jobs

Status = Literal["pending", "done", "failed"]
T = TypeVar("T")


class _Pending:
    """A message in flight, whose result is stored under its id."""

    def __init__(self, message_id: str) -> None:
        self.id = message_id
        self.future: Future[bytes] = Future()

    @property
    def status(self) -> Status:
        """`pending`, `done` or `failed`."""
        if not self.future.done():
            return "pending"
        return "failed" if self._failure else "done"

    def done(self) -> bool:
        """Tell whether the outcome is there."""
        return self.future.done()

    @cached_property
    def _failure(self) -> BaseException | None:
        unsent = self.future.exception(timeout=0)
        if unsent is not None:
            return unsent
        raw = self.future.result(timeout=0)
        if b'"SUCCESS"' in raw[:STATUS_BYTES]:
            return None
        try:
            payload(raw)
        except errors.PointsmanError as error:
            return error
        return None

    def _raw(self, timeout_s: float | None) -> bytes:
        try:
            return self.future.result(timeout_s)
        except concurrent.futures.TimeoutError:
            msg = f"no outcome of {self.id} within {timeout_s} s; are workers running?"
            raise errors.ResultTimeoutError(msg) from None
        except concurrent.futures.CancelledError:
            msg = f"the client was closed before {self.id} was done"
            raise errors.ResultTimeoutError(msg) from None


class MessageHandle(_Pending):
    """A message of `pointsman.classify` in flight."""

    def result(self, timeout_s: float | None = None) -> jobs.ClassifyReply:
        """Wait for the reply, which has one entry for each text; without a timeout, wait for ever.

        Raises:
            ResultTimeoutError: The reply did not arrive in time; the message is still in flight.
            PointsmanError: The worker could not do it; `is_retryable` tells whether to try again.
        """
        self._raw(timeout_s)
        if self._failure is not None:
            raise self._failure
        return self._reply

    @cached_property
    def _reply(self) -> jobs.ClassifyReply:
        return jobs.StoredReply.model_validate_json(self.future.result(timeout=0)).result


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


class TaskHandle(_Pending, Generic[T]):
    """A training run or a question to the registry in flight."""

    def __init__(
        self, message_id: str, decode: Callable[[Any], T], fetch: Callable[[str], bytes | None]
    ) -> None:
        super().__init__(message_id)
        self._decode = decode
        self._fetch = fetch

    def progress(self) -> jobs.TrainProgress | None:
        """Return how far a training run has come; None before its start and after its end."""
        raw = self._fetch(self.id)
        if raw is None or (stored := pydantic_core.from_json(raw)).get("status") != "PROGRESS":
            return None
        return jobs.TrainProgress.model_validate(stored["result"])

    def result(self, timeout_s: float | None = None) -> T:
        """Wait for the result; see `MessageHandle.result`."""
        return self._decode(payload(self._raw(timeout_s)))


def payload(raw: bytes) -> Any:  # noqa: ANN401  any JSON value
    """Return the value of a stored result; raise the error of a failed task, in its own class if it is one of ours."""
    stored = pydantic_core.from_json(raw)
    if stored["status"] == "SUCCESS":
        return stored["result"]
    failure = stored["result"] if isinstance(stored["result"], dict) else {}
    arguments = failure.get("exc_message", stored["status"])
    message = " ".join(map(str, arguments)) if isinstance(arguments, list | tuple) else str(arguments)
    kind = getattr(errors, str(failure.get("exc_type")), None)
    if isinstance(kind, type) and issubclass(kind, errors.PointsmanError):
        error = kind(message)
    else:
        error = errors.JobFailedError(f"{failure.get('exc_type', 'the task failed')}: {message}")
    # It holds the message.
    error.dead_letter = failure.get("dead_letter")
    raise error
