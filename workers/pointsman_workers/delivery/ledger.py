"""The ledger: every message has one outcome, which is stored and counted once, however often it is delivered."""

import datetime
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from pointsman_shared import errors
from pointsman_shared.settings import Settings
from pointsman_shared.store import dead_letters, scripts
from pointsman_shared.store.connection import Store

ATTEMPT: Final = scripts.load(__file__, "attempt")
PROGRESS: Final = scripts.load(__file__, "progress")
NO_EXTENSION: Final = scripts.read(__file__, "extend")
_CANCELLED, _DEFERRED, _OTHER = -1, -2, -3
# How often a message is attempted before it counts as poison.
MAX_ATTEMPTS: Final = 3
# The last attempt waits until no other message was interrupted for this long, looks this often, and waits at most so long.
CALM_S: Final = 5
LOOK_AGAIN_S: Final = 2
PATIENCE_S: Final = 120


class AlreadyDoneError(Exception):
    """Another delivery of the message has finished it; its outcome is in the ledger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The ledger's answer to a delivery: the attempts so far, this one included, or the reason not to run it."""

    count: int
    is_done: bool
    is_cancelled: bool
    is_deferred: bool
    is_other: bool
    stored: Any


class Ledger:
    """Outcomes exactly once. All methods raise `connection.UNAVAILABLE` if Redis is away or full.

    `extension` is the Lua source of a function `extend(id, entry, ttl, extra)`, which a feature adds to the transaction
    that closes a message. An error in it does not touch the outcome.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        extension: str = NO_EXTENSION,
        most_letters: int = dead_letters.MAX_LETTERS,
    ) -> None:
        self._store = store
        self._keys = store.keys
        self._settings = settings
        self._most_letters = most_letters
        self._close = scripts.load(__file__, "close", dead_letters.BURY, extension)

    def now(self) -> float:
        """Return the time by the clock that all machines share."""
        return self._store.now()

    def attempt(self, message_id: str, *, worker: str, batch: str | None = None, digest: str = "") -> Attempt:
        """Count an attempt of a message, before any of it is run."""
        count, raw = ATTEMPT(
            self._store,
            result=self._keys.result(message_id),
            guard=self._keys.done(message_id),
            entry=self._keys.open(message_id),
            index=self._keys.open_index,
            cancelled=self._keys.cancelled(batch or ""),
            interrupted=self._keys.interrupted,
            deferred=self._keys.deferred,
            id=message_id,
            worker=worker,
            now=self._store.now(),
            ttl=self._settings.result_ttl_s,
            delivery=uuid.uuid4().hex,
            most=MAX_ATTEMPTS,
            calm_s=CALM_S,
            again_s=LOOK_AGAIN_S,
            patience_s=PATIENCE_S,
            digest=digest,
        )
        return Attempt(
            count=max(count, 0),
            is_done=count == 0,
            is_cancelled=count == _CANCELLED,
            is_deferred=count == _DEFERRED,
            is_other=count == _OTHER,
            stored=_succeeded(raw),
        )

    def report(self, message_id: str, progress: Mapping[str, Any]) -> None:
        """Store how far the work on a message is; a message with an outcome keeps that."""
        PROGRESS(
            self._store,
            result=self._keys.result(message_id),
            entry=self._keys.open(message_id),
            progress=_result("PROGRESS", message_id, progress),
            ttl=self._settings.result_ttl_s,
        )

    def finish(
        self,
        message_id: str,
        reply: Any,  # noqa: ANN401  any JSON value
        *,
        batch: str | None = None,
        counters: Mapping[str, int] | None = None,
        client_id: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  any JSON value
        """Store the outcome of a message, close it, and return the outcome that counts: this or an earlier one."""
        earlier = self._closed(
            message_id,
            _result("SUCCESS", message_id, reply),
            batch=batch,
            client_id=client_id,
            guard=True,
            counters=dict(counters or {}) if batch else {},
            extra=extra,
        )
        return reply if earlier is None else _succeeded(earlier) or reply

    def fail(
        self,
        letter: dead_letters.DeadLetter,
        error: errors.PointsmanError,
        *,
        client_id: str | None = None,
        keep: bool = True,
    ) -> None:
        """Give a message up: store a failed outcome and keep a dead letter, unless it has an outcome.

        A retryable failure leaves no guard, so that submitting the same message again tries again. The error's text must not
        quote the input.
        """
        counted = letter.texts if letter.batch and not letter.retryable else 0
        counter = "cancelled" if isinstance(error, errors.CancelledError) else "failed"
        burial = letter.model_copy(update={"counted": counted}).burial(
            self._keys, self._settings.dead_letter_ttl_s, self._most_letters
        )
        self._closed(
            letter.id,
            _result("FAILURE", letter.id, _failure(letter, error, keep=keep)),
            batch=letter.batch,
            client_id=client_id,
            guard=not letter.retryable,
            counters={counter: counted} if counted else {},
            letter=burial if keep else None,
        )

    def reject(
        self,
        message_id: str,
        letter: dead_letters.DeadLetter,
        error: Exception,
        *,
        client_id: str | None = None,
    ) -> None:
        """Store a failed outcome of a message that cannot be read, unless it has one; its letter is kept already.

        No guard is left: a sound message may follow under the same id.
        """
        outcome = _result("FAILURE", message_id, _failure(letter, error, keep=True))
        self._closed(message_id, outcome, batch=None, client_id=client_id, guard=False, counters={})

    def revoke(
        self,
        message_id: str,
        error: Exception,
        *,
        batch: str | None,
        texts: int,
        client_id: str | None = None,
    ) -> None:
        """Store that a message was revoked, or expired before it was attempted; without an outcome, nothing else is known."""
        self._closed(
            message_id,
            _result("REVOKED", message_id, _described(error)),
            batch=batch,
            client_id=client_id,
            guard=True,
            counters={"cancelled": texts} if batch else {},
        )

    def notify(self, client_id: str, message_id: str) -> None:
        """Tell a client that its message is done; the client also polls slowly."""
        self._store.publish(self._keys.reply_channel(client_id), message_id)

    def _closed(
        self,
        message_id: str,
        outcome: bytes,
        *,
        batch: str | None,
        client_id: str | None,
        **what: Any,  # noqa: ANN401  JSON values
    ) -> bytes | None:
        channel = self._keys.reply_channel(client_id) if client_id else ""
        request = {"ttl": self._settings.result_ttl_s, "channel": channel, **what}
        stored: bytes | None = self._close(
            self._store,
            result=self._keys.result(message_id),
            guard=self._keys.done(message_id),
            entry=self._keys.open(message_id),
            index=self._keys.open_index,
            batch=self._keys.batch(batch or ""),
            letter=self._keys.dead(message_id),
            letters=self._keys.dead_index,
            id=message_id,
            outcome=outcome,
            request=orjson.dumps({name: value for name, value in request.items() if value is not None}),
        )
        return stored


def _succeeded(raw: bytes | None) -> Any:  # noqa: ANN401  any JSON value
    if raw is None:
        return None
    stored: Mapping[str, Any] = orjson.loads(raw)
    return stored["result"] if stored["status"] == "SUCCESS" else None


def _result(status: str, message_id: str, result: object) -> bytes:
    """Encode an outcome in Celery's own format, so that `AsyncResult` reads it; the status comes first."""
    return orjson.dumps(
        {
            "status": status,
            "result": result,
            "traceback": None,
            "children": [],
            "date_done": datetime.datetime.now(datetime.UTC).isoformat(),
            "task_id": message_id,
        }
    )


def _failure(letter: dead_letters.DeadLetter, error: Exception, *, keep: bool) -> dict[str, Any]:
    """Describe a failure, and add whether to try again and which dead letter has the message."""
    return {
        **_described(error),
        "retryable": letter.retryable,
        "dead_letter": letter.id if keep else None,
        "remedy": getattr(error, "remedy", None),
    }


def _described(error: Exception) -> dict[str, Any]:
    """Describe an error as Celery does."""
    kind = type(error)
    return {"exc_type": kind.__name__, "exc_module": kind.__module__, "exc_message": [str(error)]}
