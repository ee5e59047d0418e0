"""Answering questions about the registry for those who cannot reach it: producers never load a model."""

from collections.abc import Collection
from typing import Any

from pointsman_models.registry import Registry
from pointsman_shared import errors, jobs


class Library:
    """The registry's reading side.

    Args:
        registry: Where versions are kept.
        tiers: The tiers that are declared.
    """

    def __init__(self, registry: Registry, tiers: Collection[str]) -> None:
        self._registry = registry
        self._tiers = tiers

    def answer(self, query: jobs.ModelsQuery) -> list[dict[str, Any]]:
        """Answer a query: one entry a version for `list`, one card for `show`.

        Raises:
            UnknownTierError: No such tier is declared.
            RegistryError: No such version is kept.
        """
        if query.tier is not None and query.tier not in self._tiers:
            msg = f"no tier {query.tier!r} is declared; there are: {', '.join(self._tiers)}"
            raise errors.UnknownTierError(msg)
        if query.action == "show":
            return [self._show(query.tier, query.version)]
        wanted = [query.tier] if query.tier else list(self._tiers)
        return [self._line(tier, version) for tier in wanted for version in self._registry.versions(tier)]

    def _line(self, tier: str, version: int) -> dict[str, Any]:
        card = self._registry.card(tier, version)
        aliases = self._registry.aliases(tier)
        return {
            "tier": tier,
            "version": version,
            "champion": version == aliases.champion,
            "candidate": version == aliases.candidate,
            "created_at": card.created_at,
            "requested_by": card.requested_by,
            "pipeline": card.pipeline,
            "metrics": card.metrics,
        }

    def _show(self, tier: str | None, version: int | None) -> dict[str, Any]:
        if tier is None:
            msg = "show needs a tier"
            raise errors.InvalidMessageError(msg)
        aliases = self._registry.aliases(tier)
        wanted = version or aliases.champion
        if wanted is None:
            msg = f"{tier} has no champion yet; train it with: pointsman train {tier}"
            raise errors.RegistryError(msg)
        card = self._registry.card(tier, wanted).model_dump(mode="json")
        return {**card, "champion": wanted == aliases.champion, "candidate": wanted == aliases.candidate}
