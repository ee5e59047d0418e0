"""The claim on a tier's training: a request claims the tier, so that a second request learns of it at once."""

import contextlib

from pointsman_shared import errors
from pointsman_shared.store import keys
from pointsman_shared.store.connection import Store

# Time for a run to wait behind others in the queue; a trainer that has started the run renews the claim itself.
CLAIM_MS = 600_000

_CLAIM = """
local run = redis.call('HGET', KEYS[1], 'id')
if run then return run end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'holder', '')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return ARGV[1]
"""
_RELEASE = "if redis.call('HGET', KEYS[1], 'id') == ARGV[1] then redis.call('DEL', KEYS[1]) end"
_CANCEL = """
local run = redis.call('HGET', KEYS[1], 'id')
if run then redis.call('HSET', KEYS[1], 'cancel', ARGV[1]) end
return run
"""


def claim(store: Store, tier: str, run: str) -> str:
    """Claim a tier for a run; return the run that holds it, this one or an earlier one."""
    return _ask(store, _CLAIM, tier, run, CLAIM_MS) or run


def release(store: Store, tier: str, run: str) -> None:
    """Release a claim whose request could not be sent; without Redis, it expires by itself."""
    with contextlib.suppress(errors.RetryableError):
        _ask(store, _RELEASE, tier, run)


def cancel(store: Store, tier: str, requested_by: str) -> str | None:
    """Ask a tier's run to stop, and return its id."""
    return _ask(store, _CANCEL, tier, requested_by)


def _ask(store: Store, script: str, tier: str, *arguments: str | int) -> str | None:
    answer = store.eval(script, 1, keys.training(tier), *arguments)
    return answer.decode() if isinstance(answer, bytes) else None
