"""What Redis's errors mean to whoever asked for something."""

from redis.exceptions import OutOfMemoryError, RedisError

from pointsman_shared import errors

FULL = "Redis is full (maxmemory): nothing was submitted or changed; try again when work has been done"


def explained(error: RedisError) -> errors.RetryableError:
    """Give the error of ours that says what one of redis-py's means."""
    if isinstance(error, OutOfMemoryError) or "maxmemory" in str(error):
        return errors.QueueFullError(FULL)
    return errors.BrokerUnavailableError(f"Redis cannot be reached: {error}")
