"""Which texts of a served message are shadowed, and what of them is compared.

One draw is made per message, from its id: a message delivered again decides the same, and a message whose users all
have the same rate is shadowed whole or not at all.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pointsman_shared import names
from pointsman_shared.wire import jobs

ANY_VALUE_CHARS = 40


class Flags(Protocol):
    """Where rates come from."""

    def is_targeted(self, key: str) -> bool | None:
        """Say whether a flag's value can depend on the user; None if there is no such flag."""
        ...

    def decide(self, key: str, default: float, user: jobs.User | None = None) -> jobs.FlagDecision:
        """Evaluate a flag for a user."""
        ...


def draw(message_id: str) -> float:
    """Give a number in [0, 1) that depends on nothing but the id."""
    digest = hashlib.blake2b(message_id.encode(), digest_size=8, person=b"shadow-message").digest()
    return int.from_bytes(digest, "big") / 2**64


def sample(request: jobs.ClassifyRequest, message_id: str, flags: Flags) -> Sequence[int]:
    """Give the places of the texts to shadow."""
    everything = range(len(request.texts))
    targeted = flags.is_targeted(names.SHADOW_FLAG)
    if targeted is None:
        return ()
    drawn = draw(message_id)
    if not targeted:
        return everything if drawn < _rate(flags, None) else ()
    user_of = request.user_places()
    wanted = [drawn < _rate(flags, user) for user in request.users]
    # The last place is where -1, nobody, looks.
    wanted.append(jobs.ANONYMOUS in user_of and drawn < _rate(flags, None))
    if all(wanted[user] for user in set(user_of)):
        return everything
    return [place for place, user in enumerate(user_of) if wanted[user]]


def columns(
    request: jobs.ClassifyRequest | None,
    reply: Mapping[str, Any],
    places: Sequence[int] | None,
    attributes: Sequence[str],
) -> dict[str, Any]:
    """Give what is to be compared of a served message, one entry a text.

    Args:
        request: The request; None if it is not kept, then there are no texts and no attributes.
        reply: What was served: a `jobs.ClassifyReply` as a dict.
        places: The places of the texts to shadow; None for all.
        attributes: The users' attributes to count by.

    Returns:
        The columns `texts`, `intent`, `confidence`, `route_of`; `attributes` by name; and `routes`, each with `tier`,
        `version` and `ms_per_text`.
    """
    count = [0] * len(reply["routes"])
    for route in reply["route_of"]:
        count[route] += 1
    of_tier: dict[str, int] = {}
    for route, texts in zip(reply["routes"], count, strict=True):
        of_tier[route["tier"]] = of_tier.get(route["tier"], 0) + texts

    def pick(column: Sequence[Any]) -> Sequence[Any]:
        return column if places is None else [column[place] for place in places]

    return {
        "texts": pick(request.texts) if request else (),
        **{name: pick(reply[name]) for name in ("intent", "confidence", "route_of")},
        "routes": [
            {
                "tier": route["tier"],
                "version": route["model_version"],
                # A route's time is that of its whole tier.
                "ms_per_text": route["inference_ms"] / max(1, of_tier[route["tier"]]),
            }
            for route in reply["routes"]
        ],
        "attributes": {
            name: pick(column) for name, column in (_columns(request, attributes) if request else {}).items()
        },
    }


def _rate(flags: Flags, user: jobs.User | None) -> float:
    value = flags.decide(names.SHADOW_FLAG, 0.0, user).value
    return float(value) if isinstance(value, float | int) else 0.0


def _columns(request: jobs.ClassifyRequest, attributes: Sequence[str]) -> dict[str, list[str | None]]:
    user_of = request.user_places()
    found = {}
    for attribute in attributes:
        # The last place is where -1, nobody, looks.
        of_user = [*(_value(user, attribute) for user in request.users), None]
        if any(value is not None for value in of_user):
            found[attribute] = [of_user[user] for user in user_of]
    return found


def _value(user: jobs.User, attribute: str) -> str | None:
    value = user.country if attribute == "country" else user.custom.get(attribute)
    return None if value is None else str(value)[:ANY_VALUE_CHARS]
