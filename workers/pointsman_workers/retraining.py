"""Doing a training message: find the tier, train it, say how far it is."""

from collections.abc import Callable, Mapping
from dataclasses import asdict

from pointsman_models import training
from pointsman_models.registry import Registry
from pointsman_models.tiers import Tier
from pointsman_shared import errors, jobs

Report = Callable[[jobs.TrainProgress], None]


class Retraining:
    """Trains declared tiers into a registry.

    Args:
        registry: Where versions are kept.
        tiers: The tiers that are declared, by name.
    """

    def __init__(self, registry: Registry, tiers: Mapping[str, Tier]) -> None:
        self._registry = registry
        self._tiers = tiers

    def train(self, request: jobs.TrainRequest, report: Report) -> jobs.TrainReply:
        """Train a tier.

        Args:
            request: Which tier, who asked, whether it may become the champion.
            report: Told how far the run is, each time that is worth telling.

        Raises:
            UnknownTierError: No such tier is declared.
            PermanentError: The data or the settings cannot be used.
        """
        if request.tier not in self._tiers:
            msg = f"no tier {request.tier!r} is declared; there are: {', '.join(self._tiers)}"
            raise errors.UnknownTierError(msg)
        trained = training.train(
            self._tiers[request.tier],
            self._registry,
            progress=_Sparing(request.tier, report),
            requested_by=request.requested_by,
            promote=request.promote,
        )
        return jobs.TrainReply.model_validate(asdict(trained))


class _Sparing:
    """Passes progress on when the stage or the percentage changes: each report is a write to Redis."""

    def __init__(self, tier: str, report: Report) -> None:
        self._tier = tier
        self._report = report
        self._told: tuple[str, int] | None = None

    def __call__(self, stage: str, fraction: float) -> None:
        worth_telling = (stage, int(fraction * 100))
        if worth_telling != self._told:
            self._told = worth_telling
            self._report(jobs.TrainProgress(tier=self._tier, stage=stage, fraction=round(fraction, 4)))
