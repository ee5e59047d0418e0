"""What trainings write into Redis and read from it: who trains a tier now, which runs are done, labels that came in.

It knows Redis, as the ledger does; nobody else here does.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from redis import Redis
from redis.exceptions import RedisError

from pointsman_shared.broker import config as broker_config
from pointsman_shared.settings import Settings
from pointsman_shared.store import keys
from pointsman_workers.delivery.ledger import LedgerUnavailableError

# A trainer that says nothing for this long is dead, and its tier free.
CLAIM_TTL_MS = 30_000
RENEWAL_S = 2.0
_SCAN_COUNT = 1_000

# A run claims its tier for one holder. The same run delivered twice has two holders, of which one waits.
_CLAIM = """
local done = redis.call('GET', KEYS[2])
if done then return {'done', done} end
local run = redis.call('HGET', KEYS[1], 'id')
local holder = redis.call('HGET', KEYS[1], 'holder')
if run and run ~= ARGV[1] then return {'busy', run} end
if holder and holder ~= '' and holder ~= ARGV[2] then return {'held', holder} end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'holder', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {'mine', ''}
"""
_RENEW = """
local holder = redis.call('HGET', KEYS[1], 'holder')
if holder and holder ~= ARGV[2] then return 'lost' end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'holder', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
-- The ledger's entry: who looks for lost messages sees that this one is being done.
if redis.call('HEXISTS', KEYS[2], 'message') == 1 then redis.call('HSET', KEYS[2], 'alive_at', ARGV[4]) end
if redis.call('HGET', KEYS[1], 'cancel') then return 'cancelled' end
return 'mine'
"""
_FINISH = """
if redis.call('HGET', KEYS[1], 'holder') == ARGV[1] then redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
"""

State = Literal["mine", "cancelled", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The answer to a run that wants its tier."""

    state: Literal["mine", "held", "busy", "done"]
    """Whether the tier is the run's; or is held by another delivery of it; or by another run; or the run is over."""
    detail: str
    """The other holder, the other run, or how it ended."""


class RedisTrainingBook:
    """Claims on tiers, ends of runs, labels.

    Args:
        redis: The connection; it belongs to the process that made it.
        ttl_s: How long the end of a run is known.
        claim_ttl_ms: How long a claim lasts that nobody renews.
    """

    def __init__(self, redis: Redis, ttl_s: int, *, claim_ttl_ms: int = CLAIM_TTL_MS) -> None:
        self._redis = redis
        self._ttl_s = ttl_s
        self._claim_ttl_ms = claim_ttl_ms
        self._claim = redis.register_script(_CLAIM)
        self._renew = redis.register_script(_RENEW)
        self._finish = redis.register_script(_FINISH)

    @classmethod
    def connect(cls, settings: Settings) -> "RedisTrainingBook":
        """Open the book in the Redis of the settings. Nothing is sent yet."""
        url = settings.redis_url.get_secret_value()
        return cls(Redis.from_url(url, **broker_config.SOCKET_OPTIONS), settings.result_ttl_s)

    @property
    def renewal_s(self) -> float:
        """Say how often a claim wants to be renewed; that is also how soon a run hears that it is cancelled."""
        return min(self._claim_ttl_ms / 3000, RENEWAL_S)

    def claim(self, tier: str, run: str, holder: str) -> Claim:
        """Ask for a tier.

        Raises:
            LedgerUnavailableError: Redis cannot be reached.
        """
        answer = self._ask(self._claim, tier, [run, holder, self._claim_ttl_ms], keys.trained(run))
        state, detail = (_text(part) for part in answer)
        return Claim(state=state, detail=detail)  # type: ignore[arg-type]  # the script says nothing else

    def renew(self, tier: str, run: str, holder: str) -> State:
        """Keep a claim, and hear whether somebody wants the run to stop.

        Raises:
            LedgerUnavailableError: Redis cannot be reached.
        """
        given = [run, holder, self._claim_ttl_ms, time.time()]
        answer = self._ask(self._renew, tier, given, keys.open(run))
        return _text(answer)  # type: ignore[return-value]  # the script says nothing else

    def finish(self, tier: str, run: str, holder: str, end: str) -> None:
        """Give the tier back and write down how the run ended, in one step.

        Raises:
            LedgerUnavailableError: Redis cannot be reached.
        """
        self._ask(self._finish, tier, [holder, end, self._ttl_s], keys.trained(run))

    def labels(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give all labels that people gave to jobs: the job's id, and `{text?, intent, tier, at, by}`.

        Raises:
            LedgerUnavailableError: Redis cannot be reached.
        """
        try:
            for job, raw in self._redis.hscan_iter(keys.LABELS, count=_SCAN_COUNT):
                yield _text(job), orjson.loads(raw)
        except RedisError as error:
            msg = f"Redis: {error}"
            raise LedgerUnavailableError(msg) from error

    def _ask(self, script: Any, tier: str, arguments: list[Any], *more_keys: str) -> Any:  # noqa: ANN401  redis's own types
        try:
            return script(keys=[keys.training(tier), *more_keys], args=arguments)
        except RedisError as error:
            msg = f"Redis: {error}"
            raise LedgerUnavailableError(msg) from error


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
