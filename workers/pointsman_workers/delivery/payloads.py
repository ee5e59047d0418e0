"""What can be read of a task's argument before it is validated."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

MAX_SHOWN_CHARS: Final = 200


def argument(args: Iterable[Any], kwargs: Mapping[str, Any]) -> object:
    """Return a task's only argument, whether it was passed by place or by name."""
    return next(iter((*args, *kwargs.values())), None)


def batch(payload: object) -> str | None:
    """Return the batch that a payload names."""
    found = payload.get("batch") if isinstance(payload, dict) else None
    return found if isinstance(found, str) and found else None


def texts(payload: object) -> int:
    """Count the texts of a payload."""
    found = payload.get("texts") if isinstance(payload, dict) else None
    return len(found) if isinstance(found, list) else 0


def summary(payload: object) -> str:
    """Describe a payload without its texts, for logs and Flower."""
    count, name = texts(payload), batch(payload)
    if count:
        return f"({count} text{'s' if count > 1 else ''}{f', batch {name}' if name else ''})"
    tier = payload.get("tier") if isinstance(payload, dict) else None
    return f"(tier {tier})" if isinstance(tier, str) and len(tier) <= MAX_SHOWN_CHARS else "(...)"
