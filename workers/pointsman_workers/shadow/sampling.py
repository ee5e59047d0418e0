"""Which texts of a served message are shadowed.

One draw is made per message, from its id: a message that is delivered again gets the same draw, and a message whose
users all have the same rate is shadowed as a whole or not at all.
"""

import hashlib
from collections.abc import Sequence

from pointsman_shared import names
from pointsman_shared.wire import jobs
from pointsman_workers.flags.provider import Provider


def draw(message_id: str) -> float:
    """Return a number in [0, 1) that depends on nothing but the id."""
    digest = hashlib.blake2b(message_id.encode(), digest_size=8, person=b"shadow-message").digest()
    return int.from_bytes(digest, "big") / 2**64


def sample(request: jobs.ClassifyRequest, message_id: str, flags: Provider) -> Sequence[int]:
    """Return the places of the texts to shadow."""
    everything = range(len(request.texts))
    targeted = flags.is_targeted(names.SHADOW_FLAG)
    if targeted is None:
        return ()
    drawn = draw(message_id)
    if not targeted:
        return everything if drawn < _rate(flags, None) else ()
    user_of = request.user_places()
    wanted = [drawn < _rate(flags, user) for user in request.users]
    # The last place is for texts without a user, whose place is -1.
    wanted.append(jobs.ANONYMOUS in user_of and drawn < _rate(flags, None))
    if all(wanted[user] for user in set(user_of)):
        return everything
    return [place for place, user in enumerate(user_of) if wanted[user]]


def _rate(flags: Provider, user: jobs.User | None) -> float:
    value = flags.decide(names.SHADOW_FLAG, 0.0, user).value
    return float(value) if isinstance(value, float | int) else 0.0
