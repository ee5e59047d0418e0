"""Which training run a tier has: booked when it is asked for, so that a second request hears of it at once."""

from redis import Redis
from redis.exceptions import RedisError

from pointsman_shared import errors
from pointsman_shared.store import keys
from pointsman_shared.store.connection import explained

# Time for a run to wait behind others in the queue; a trainer that has begun keeps the booking itself.
BOOKED_MS = 600_000

_BOOK = """
local run = redis.call('HGET', KEYS[1], 'id')
if run then return run end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'holder', '')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return ARGV[1]
"""
_UNBOOK = "if redis.call('HGET', KEYS[1], 'id') == ARGV[1] then redis.call('DEL', KEYS[1]) end"
_CANCEL = """
local run = redis.call('HGET', KEYS[1], 'id')
if run then redis.call('HSET', KEYS[1], 'cancel', ARGV[1]) end
return run
"""


class Runs:
    """Books training runs.

    Args:
        redis: The client's connection.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def book(self, tier: str, run: str) -> str:
        """Book a tier for a run.

        Returns:
            The run that has the tier: this one, or the one that came first.

        Raises:
            BrokerUnavailableError: Redis cannot be reached.
        """
        return self._ask(_BOOK, tier, run, BOOKED_MS) or run

    def unbook(self, tier: str, run: str) -> None:
        """Take a booking back that came to nothing; where that fails too, it ends by itself."""
        try:
            self._ask(_UNBOOK, tier, run)
        except errors.RetryableError:
            return

    def cancel(self, tier: str, who: str) -> str | None:
        """Ask a tier's run to stop, and give its id.

        Raises:
            BrokerUnavailableError: Redis cannot be reached.
        """
        return self._ask(_CANCEL, tier, who)

    def _ask(self, script: str, tier: str, *arguments: str | int) -> str | None:
        try:
            answer = self._redis.eval(script, 1, keys.training(tier), *arguments)
        except RedisError as error:
            raise explained(error) from error
        return answer.decode() if isinstance(answer, bytes) else None
