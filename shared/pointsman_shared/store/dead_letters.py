"""Dead letters: messages that are not tried again by themselves, the reason, and the means to replay them.

Workers write them in the transaction that stores the failed outcome; the command line lists, shows, replays and purges
them. A letter holds the message as it was sent, with its texts, so the payload is shown only on demand.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field

from pointsman_shared import errors
from pointsman_shared.store import scripts
from pointsman_shared.store.connection import Store
from pointsman_shared.store.keys import Keys

MALFORMED: Final = "malformed"
"""It could not be read: the queue held something that is not a message of ours."""
INVALID: Final = "invalid"
"""It could be read and breaks the schema or a limit."""
POISON: Final = "poison"
"""It was attempted as often as is allowed and never finished."""
TIME_LIMIT: Final = "time_limit"
"""It took longer than its kind may."""
FAILED: Final = "failed"
"""The work itself failed."""
REASONS: Final = (MALFORMED, INVALID, POISON, TIME_LIMIT, FAILED)

# What cannot be read is kept for people to look at, not to be sent again.
MAX_MALFORMED_BYTES: Final = 65_536
MAX_LETTERS: Final = 10_000
PAGE: Final = 500

BURY: Final = scripts.read(__file__, "bury")
KEEP: Final = scripts.load(__file__, "keep_letter", BURY)
REPLAY: Final = scripts.load(__file__, "replay")


class DeadLetter(BaseModel):
    """One dead letter. Its id is that of its message, where that could be read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    reason: str
    """One of `REASONS`."""
    error: str
    """The class of the error."""
    detail: str
    """What was wrong, without the input."""
    queue: str
    task: str = ""
    """The task it asked for; empty where that could not be read."""
    batch: str = ""
    texts: int = 0
    attempts: int = 0
    worker: str = ""
    """The worker that gave it up."""
    submitted_at: float = 0.0
    """Seconds since the epoch; 0 where that is not known."""
    died_at: float = 0.0
    retryable: bool = False
    """Whether the same message can succeed later, unchanged."""
    payload: bytes = b""
    """The message as it lay in the queue."""
    versions: dict[str, str] = Field(default_factory=dict)
    """The versions of the software that gave it up."""
    counted: int = 0
    """How many texts it counts as failed in its batch."""

    def burial(self, keys: Keys, ttl_s: int, most: int = MAX_LETTERS) -> dict[str, Any]:
        """Return the argument of the Lua function `bury`."""
        fields = self.model_dump(exclude={"id", "payload", "versions", "retryable"})
        fields |= {"versions": json.dumps(self.versions), "retryable": int(self.retryable)}
        return {"fields": fields, "at": self.died_at, "ttl": ttl_s, "most": most, "prefix": keys.dead("")}

    @classmethod
    def parse(cls, letter_id: str, stored: Mapping[str, bytes]) -> Self:
        """Read a stored letter."""
        fields: dict[str, Any] = {name: value.decode() for name, value in stored.items() if name != "payload"}
        fields |= {
            "versions": json.loads(fields.get("versions", "{}")),
            "payload": stored.get("payload", b""),
        }
        return cls.model_validate({**fields, "id": letter_id})

    def arguments(self) -> object:
        """Return the task's arguments, or the raw payload as text."""
        try:
            return json.loads(base64.b64decode(json.loads(self.payload)["body"]))[0]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            return self.payload.decode(errors="replace")


class Filter(BaseModel):
    """A choice of dead letters; a field that is left out allows all."""

    reason: str | None = None
    batch: str | None = None
    older_than_s: float | None = None
    newer_than_s: float | None = None

    def fits(self, letter: DeadLetter) -> bool:
        """Return whether a letter is chosen, its age aside."""
        return self.reason in {None, letter.reason} and self.batch in {None, letter.batch}


class DeadLetters:
    """The dead letters of a deployment."""

    def __init__(self, store: Store, *, ttl_s: int) -> None:
        self._store = store
        self._keys = store.keys
        self._ttl_s = ttl_s

    def bury(self, letter: DeadLetter) -> None:
        """Keep something that has no outcome, because it could not be read."""
        KEEP(
            self._store,
            letter=self._keys.dead(letter.id),
            index=self._keys.dead_index,
            id=letter.id,
            payload=letter.payload[:MAX_MALFORMED_BYTES],
            what=json.dumps(letter.burial(self._keys, self._ttl_s)),
        )

    def count(self) -> int:
        """Count the letters."""
        return int(self._store.zcard(self._keys.dead_index))

    def get(self, letter_id: str) -> DeadLetter | None:
        """Return one letter with its payload."""
        stored: Mapping[bytes, bytes] = self._store.hgetall(self._keys.dead(letter_id))  # type: ignore[assignment]
        by_name = {name.decode(): value for name, value in stored.items()}
        return DeadLetter.parse(letter_id, by_name) if by_name else None

    def find(self, wanted: Filter | None = None) -> Iterator[DeadLetter]:
        """Yield the chosen letters, the latest first, without their payloads."""
        wanted = wanted or Filter()
        now = self._store.now()
        newest = now - wanted.older_than_s if wanted.older_than_s is not None else "+inf"
        oldest = now - wanted.newer_than_s if wanted.newer_than_s is not None else "-inf"
        # All ids at once: the index is bounded, and pages would shift while letters are replayed or purged.
        found: Sequence[Any] = self._store.zrevrangebyscore(self._keys.dead_index, newest, oldest)
        ids = [str(raw.decode()) for raw in found]
        for start in range(0, len(ids), PAGE):
            yield from filter(wanted.fits, self._read(ids[start : start + PAGE]))

    def replay(self, letter: DeadLetter) -> bool:
        """Put a message back on its queue under its own id, so that it gets exactly one outcome after all."""
        if letter.reason == MALFORMED:
            msg = f"dead letter {letter.id} could not be read as a message: it cannot be replayed"
            raise errors.InvalidMessageError(msg)
        done = REPLAY(
            self._store,
            letter=self._keys.dead(letter.id),
            index=self._keys.dead_index,
            result=self._keys.result(letter.id),
            guard=self._keys.done(letter.id),
            entry=self._keys.open(letter.id),
            open=self._keys.open_index,
            id=letter.id,
            now=self._store.now(),
            batches=self._keys.batch(""),
        )
        if done == -1:
            msg = f"dead letter {letter.id} holds no message, only what became of it: it cannot be replayed"
            raise errors.InvalidMessageError(msg)
        return bool(done)

    def purge(self, letter: DeadLetter) -> bool:
        """Delete a letter, and return whether it was there. Its failed outcome stays."""
        pipeline = self._store.pipeline()
        pipeline.delete(self._keys.dead(letter.id))
        pipeline.zrem(self._keys.dead_index, letter.id)
        return bool(pipeline.execute()[0])

    def _read(self, ids: Sequence[str]) -> Iterator[DeadLetter]:
        columns = [name for name in DeadLetter.model_fields if name not in {"id", "payload"}]
        pipeline = self._store.pipeline(transaction=False)
        for letter_id in ids:
            pipeline.hmget(self._keys.dead(letter_id), columns)
        for letter_id, values in zip(ids, pipeline.execute(), strict=True):
            # A letter may expire or be replayed between the two steps.
            if values[0] is not None:
                stored = dict(zip(columns, values, strict=True))
                yield DeadLetter.parse(
                    letter_id, {name: value for name, value in stored.items() if value is not None}
                )
