"""Reading back what was served: the texts of a kept message, in columns, by the version that answered them."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from pointsman_shared import names
from pointsman_shared.wire import jobs
from pointsman_workers.shadow.backlog import Taken

MAX_VALUE_CHARS: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The texts of a message that one version served, in columns.

    Attributes:
        message_id: The message.
        tier: The tier that served.
        version: Its version.
        places: The texts' places in the message.
        texts: The texts; empty if they are only counted.
        intent: The served intents.
        confidence: The served confidences.
        attributes: The users' values of each attribute.
        day: The day on which they were served, UTC.
        inference_ms: The time that the served version took for them.
    """

    message_id: str
    tier: str
    version: int
    places: Sequence[int]
    texts: Sequence[str]
    intent: Sequence[str]
    confidence: Sequence[float]
    attributes: Mapping[str, Sequence[str | None]]
    day: str
    inference_ms: float

    @property
    def name(self) -> str:
        """The version that served, as `pro@7`."""
        return names.version_name(self.tier, self.version)

    def job(self, at: int) -> str:
        """Return the job id of one text."""
        return names.job_id(self.message_id, self.places[at])


def read(taken: Taken, attributes: Sequence[str]) -> list[Part]:
    """Return the texts of a message that are to be shadowed, in parts by version."""
    reply = orjson.loads(taken.outcome or b"{}")["result"]
    request = _request(taken.message)
    columns = _attributes(request, attributes) if request else {}
    ms_per_text = _ms_per_text(reply)
    by_version: dict[tuple[str, int], list[int]] = {}
    for place in range(len(reply["intent"])) if taken.places is None else taken.places:
        route = reply["routes"][reply["route_of"][place]]
        by_version.setdefault((route["tier"], route["model_version"]), []).append(place)

    def pick(column: Sequence[Any], places: Sequence[int]) -> list[Any]:
        return [column[place] for place in places]

    return [
        Part(
            message_id=taken.message_id,
            tier=tier,
            version=version,
            places=places,
            texts=pick(request.texts, places) if request else (),
            intent=pick(reply["intent"], places),
            confidence=pick(reply["confidence"], places),
            attributes={name: pick(column, places) for name, column in columns.items()},
            day=datetime.fromtimestamp(taken.served_at, UTC).date().isoformat(),
            inference_ms=len(places) * ms_per_text[tier],
        )
        for (tier, version), places in by_version.items()
    ]


def _request(message: bytes | None) -> jobs.ClassifyRequest | None:
    if message is None:
        return None
    args, kwargs, _ = orjson.loads(base64.b64decode(orjson.loads(message)["body"]))
    return jobs.ClassifyRequest.parse(next(iter((*args, *kwargs.values()))))


def _ms_per_text(reply: Mapping[str, Any]) -> dict[str, float]:
    """Return each tier's time for a text; a route's time is that of its whole tier."""
    texts: dict[str, int] = {}
    for route in reply["route_of"]:
        tier = reply["routes"][route]["tier"]
        texts[tier] = texts.get(tier, 0) + 1
    return {
        route["tier"]: route["inference_ms"] / max(1, texts.get(route["tier"], 0))
        for route in reply["routes"]
    }


def _attributes(request: jobs.ClassifyRequest, attributes: Sequence[str]) -> dict[str, list[str | None]]:
    user_of = request.user_places()
    found = {}
    for attribute in attributes:
        # The last place is for texts without a user, whose place is -1.
        of_user = [*(_value(user, attribute) for user in request.users), None]
        if any(value is not None for value in of_user):
            found[attribute] = [of_user[user] for user in user_of]
    return found


def _value(user: jobs.User, attribute: str) -> str | None:
    value = user.country if attribute == "country" else user.custom.get(attribute)
    return None if value is None else str(value)[:MAX_VALUE_CHARS]
