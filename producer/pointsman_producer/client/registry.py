"""Questions about the model registry that several commands ask, through the queue like all others."""

from typing import Any

from pointsman_producer.client.client import Client
from pointsman_shared import errors, names

TIMEOUT_S = 30.0
NO_PAIR = "none. A comparison needs a second tier or a candidate, the flag shadowSampleRate above 0, and texts since then"
CHAMPION, CANDIDATE = "champion", "candidate"


def versions(client: Client, tier: str | None = None) -> list[dict[str, Any]]:
    """List the versions of a tier, or of all tiers."""
    return client.models("list", tier=tier).result(TIMEOUT_S)


def tiers(client: Client) -> dict[str, int | None]:
    """List the declared tiers, each with its champion, if it has one."""
    return {line["tier"]: line[CHAMPION] for line in client.models("tiers").result(TIMEOUT_S)}


def missing_tiers(client: Client) -> list[str]:
    """Name the declared tiers without a champion; a tier whose aliases are damaged may have one."""
    found = client.models("tiers").result(TIMEOUT_S)
    return [line["tier"] for line in found if line[CHAMPION] is None and not line.get("problem")]


def find_version(client: Client, name: str) -> str:
    """Find the version of a name: `pro@7` itself, the champion of `pro`, the candidate of `pro@candidate`."""
    tier, _, wanted = name.partition("@")
    if wanted.isdecimal():
        return name
    role = wanted or CHAMPION
    found = [version for version in versions(client, tier) if role in roles(version)]
    if not found:
        msg = f"{name} names no version: expected {tier}@NUMBER, or a tier with a {role}"
        raise errors.InvalidDataError(msg)
    return names.version_name(tier, found[0]["version"])


def roles(version: dict[str, Any]) -> list[str]:
    """Name the roles of a version."""
    return [role for role in (CHAMPION, CANDIDATE) if version.get(role)]


def find_pair(client: Client, pair: str | None) -> tuple[str, str]:
    """Find a pair of compared versions: the named one, or the latest."""
    known = [(entry["served"], entry["candidate"]) for entry in client.shadow.pairs()]
    wanted = [one for one in known if pair is None or pair == names.pair_name(*one)]
    if wanted:
        return wanted[0]
    there_are = ", ".join(names.pair_name(*one) for one in known) or NO_PAIR
    problem = "nothing was compared yet" if pair is None else f"no pair {pair!r} was compared"
    msg = f"{problem}; there are: {there_are}"
    raise errors.InvalidDataError(msg)
