"""Dead letters: messages that will not be tried again by themselves, with why, and what is needed to try again.

Workers write them, in the transaction that stores the failed outcome; the producing side lists, shows, replays and
purges them. They hold the message as it was sent, texts included, so what shows or logs them shows the payload only
when it is asked to.
"""

import base64
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from redis import Redis

from pointsman_shared import errors
from pointsman_shared.store import keys

MALFORMED: Final = "malformed"
"""It could not be read: the queue held something that is no message of ours."""
INVALID: Final = "invalid"
"""It could be read and breaks the schema or a limit."""
POISON: Final = "poison"
"""It was begun as often as is allowed and never finished."""
TIME_LIMIT: Final = "time_limit"
"""It took longer than its kind may."""
FAILED: Final = "failed"
"""The work itself failed."""
REASONS: Final = (MALFORMED, INVALID, POISON, TIME_LIMIT, FAILED)

# What cannot be read is kept to be looked at, not to be sent again.
MAX_MALFORMED_BYTES: Final = 65_536
PAGE: Final = 500

# Lua that both scripts which bury share: lets the oldest letters go when there are too many or when they are too old.
# Expects: index key, now, time to live, most letters.
TRIM: Final = """
local function trim(index, prefix, now, ttl, most)
  redis.call('ZREMRANGEBYSCORE', index, '-inf', now - ttl)
  local over = redis.call('ZCARD', index) - most
  if over > 0 then
    for _, id in ipairs(redis.call('ZRANGE', index, 0, over - 1)) do redis.call('DEL', prefix .. id) end
    redis.call('ZREMRANGEBYRANK', index, 0, over - 1)
  end
end
"""

_BURY = (
    TRIM
    + """
for place = 6, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[place], ARGV[place + 1]) end
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
trim(KEYS[2], ARGV[5], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]))
"""
)

# One step: whoever replays first has it. The guard and the failed outcome go, so that the next outcome counts.
_REPLAY = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local payload = redis.call('HGET', KEYS[1], 'payload')
local queue = redis.call('HGET', KEYS[1], 'queue')
local failed = tonumber(redis.call('HGET', KEYS[1], 'counted') or '0')
local batch = redis.call('HGET', KEYS[1], 'batch')
redis.call('DEL', KEYS[1], KEYS[3], KEYS[4])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[5], 'queue', queue, 'message', payload, 'at', ARGV[2])
redis.call('ZADD', KEYS[6], ARGV[2], ARGV[1])
if failed > 0 and redis.call('EXISTS', ARGV[3] .. batch) == 1 then
  redis.call('HINCRBY', ARGV[3] .. batch, 'failed', -failed)
end
redis.call('LPUSH', queue, payload)
return 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One dead letter.

    Attributes:
        id: Its id; that of its message, where that could be read.
        reason: One of `REASONS`.
        error: The class of the error.
        detail: What was wrong, without the input.
        queue: Where it lay.
        task: What it asked for; empty where that could not be read.
        batch: The batch it belongs to, or empty.
        texts: How many jobs it carries.
        starts: How often it was begun.
        worker: Who gave it up.
        submitted_at: When it was submitted, seconds since the epoch, 0 where that is not known.
        died_at: When it was given up.
        retryable: Whether the same message can succeed later, unchanged.
        payload: The message as it lay in the queue.
        versions: The versions of what gave it up.
        counted: How many texts it counts as failed in its batch.
    """

    id: str
    reason: str
    error: str
    detail: str
    queue: str
    task: str = ""
    batch: str = ""
    texts: int = 0
    starts: int = 0
    worker: str = ""
    submitted_at: float = 0.0
    died_at: float = 0.0
    retryable: bool = False
    payload: bytes = b""
    versions: Mapping[str, str] = field(default_factory=dict)
    counted: int = 0

    @property
    def is_replayable(self) -> bool:
        """Whether it can be sent again."""
        return self.reason != MALFORMED and bool(self.payload)

    def fields(self) -> dict[str, str | bytes | float]:
        """Give what is stored of it, without the payload."""
        return {
            "reason": self.reason,
            "error": self.error,
            "detail": self.detail,
            "queue": self.queue,
            "task": self.task,
            "batch": self.batch,
            "texts": self.texts,
            "starts": self.starts,
            "worker": self.worker,
            "submitted_at": self.submitted_at,
            "died_at": self.died_at,
            "retryable": int(self.retryable),
            "versions": json.dumps(self.versions),
            "counted": self.counted,
        }

    @classmethod
    def parse(cls, letter_id: str, stored: Mapping[bytes, bytes]) -> Self:
        """Read what is stored of it."""
        text = {key.decode(): value.decode() for key, value in stored.items() if key != b"payload"}
        return cls(
            id=letter_id,
            reason=text["reason"],
            error=text["error"],
            detail=text["detail"],
            queue=text["queue"],
            task=text.get("task", ""),
            batch=text.get("batch", ""),
            texts=int(text.get("texts", 0)),
            starts=int(text.get("starts", 0)),
            worker=text.get("worker", ""),
            submitted_at=float(text.get("submitted_at", 0)),
            died_at=float(text.get("died_at", 0)),
            retryable=text.get("retryable") == "1",
            payload=stored.get(b"payload", b""),
            versions=json.loads(text.get("versions", "{}")),
            counted=int(text.get("counted", 0)),
        )

    def arguments(self) -> object:
        """Give what the message asked to be done: the task's arguments, or the raw payload as text."""
        try:
            return json.loads(base64.b64decode(json.loads(self.payload)["body"]))[0]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            return self.payload.decode(errors="replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which dead letters are meant; what is left out does not matter."""

    reason: str | None = None
    batch: str | None = None
    older_than_s: float | None = None
    newer_than_s: float | None = None

    def fits(self, letter: DeadLetter) -> bool:
        """Say whether a letter is meant, its age aside."""
        return self.reason in {None, letter.reason} and self.batch in {None, letter.batch}


class DeadLetters:
    """The dead letters of a deployment.

    Args:
        redis: A connection that gives bytes.
        ttl_s: How long they are kept.
        most: How many are kept.
    """

    def __init__(self, redis: Redis, *, ttl_s: int, most: int) -> None:
        self._redis = redis
        self._ttl_s = ttl_s
        self._most = most
        self._bury = redis.register_script(_BURY)
        self._replay = redis.register_script(_REPLAY)

    def bury(self, letter: DeadLetter) -> None:
        """Keep something that has no outcome to be stored with: what could not be read."""
        stored = {**letter.fields(), "payload": letter.payload[:MAX_MALFORMED_BYTES]}
        self._bury(
            keys=[keys.dead(letter.id), keys.DEAD_INDEX],
            args=[
                letter.id,
                letter.died_at,
                self._ttl_s,
                self._most,
                keys.dead(""),
                *(part for pair in stored.items() for part in pair),
            ],
        )

    def count(self) -> int:
        """Say how many there are."""
        return int(self._redis.zcard(keys.DEAD_INDEX))

    def get(self, letter_id: str) -> DeadLetter | None:
        """Give one."""
        stored: Mapping[bytes, bytes] = self._redis.hgetall(keys.dead(letter_id))  # type: ignore[assignment]
        return DeadLetter.parse(letter_id, stored) if stored else None

    def find(self, wanted: Filter | None = None) -> Iterator[DeadLetter]:
        """Give those that are meant, the latest first, without their payloads."""
        wanted = wanted or Filter()
        now = time.time()
        newest = now - wanted.older_than_s if wanted.older_than_s is not None else "+inf"
        oldest = now - wanted.newer_than_s if wanted.newer_than_s is not None else "-inf"
        # Read at once: the index is bounded, and pages would shift under whoever replays or purges what is found.
        found: Sequence[Any] = self._redis.zrevrangebyscore(keys.DEAD_INDEX, newest, oldest)
        ids = [str(raw.decode()) for raw in found]
        for start in range(0, len(ids), PAGE):
            yield from filter(wanted.fits, self._read(ids[start : start + PAGE]))

    def replay(self, letter: DeadLetter) -> bool:
        """Put a message back on its queue under its own id, to have exactly one outcome after all.

        Returns:
            Whether it was there: False if somebody else replayed or purged it.

        Raises:
            InvalidMessageError: It cannot be sent again, because it could not be read.
        """
        if letter.reason == MALFORMED:
            msg = f"dead letter {letter.id} is no message that could be read: it cannot be replayed"
            raise errors.InvalidMessageError(msg)
        done = self._replay(
            keys=[
                keys.dead(letter.id),
                keys.DEAD_INDEX,
                keys.result(letter.id),
                keys.done(letter.id),
                keys.open(letter.id),
                keys.OPEN_INDEX,
            ],
            args=[letter.id, time.time(), keys.batch("")],
        )
        return bool(done)

    def purge(self, letter: DeadLetter) -> bool:
        """Forget one; its failed outcome stays. Says whether it was there."""
        pipeline = self._redis.pipeline()
        pipeline.delete(keys.dead(letter.id))
        pipeline.zrem(keys.DEAD_INDEX, letter.id)
        return bool(pipeline.execute()[0])

    def _read(self, ids: Sequence[str]) -> Iterator[DeadLetter]:
        columns = list(DeadLetter(id="", reason="", error="", detail="", queue="").fields())
        pipeline = self._redis.pipeline(transaction=False)
        for letter_id in ids:
            pipeline.hmget(keys.dead(letter_id), columns)
        for letter_id, values in zip(ids, pipeline.execute(), strict=True):
            # One may expire or be replayed between the two steps.
            if values[0] is not None:
                stored = {
                    name.encode(): value
                    for name, value in zip(columns, values, strict=True)
                    if value is not None
                }
                yield DeadLetter.parse(letter_id, stored)
