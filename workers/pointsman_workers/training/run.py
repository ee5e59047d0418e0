"""Doing a training: train the tier, judge the version, notify people, report progress."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict

from pointsman_models.data import tiers
from pointsman_models.data.dataset import Source
from pointsman_models.data.tiers import Tier
from pointsman_models.promotion import decision, training_run
from pointsman_models.promotion.advice import Shadow
from pointsman_models.registry.versions import Registry
from pointsman_shared import errors
from pointsman_shared.wire import jobs
from pointsman_workers.delivery.wiring import Notify

logger = logging.getLogger(__name__)

Report = Callable[[jobs.TrainProgress], None]


class Trainer:
    """Trains declared tiers into a registry."""

    def __init__(
        self,
        registry: Registry,
        tiers: Mapping[str, Tier],
        notify: Notify,
        sources: Callable[[str], list[Source]],
        shadow: Shadow | None = None,
    ) -> None:
        self._registry = registry
        self._tiers = tiers
        self._notify = notify
        self._sources = sources
        self._shadow = shadow

    def require(self, tier: str) -> None:
        """Raise `UnknownTierError` if a tier is not declared."""
        tiers.find(self._tiers, tier)

    def train(self, request: jobs.TrainRequest, report: Report, check: Callable[[], None]) -> jobs.TrainReply:
        """Train a tier."""
        tier = self._tiers[request.tier]
        try:
            if request.promote:
                self._promote_candidate(tier, request.requested_by)
            trained = training_run.train(
                tier,
                self._registry,
                progress=_Progress(request.tier, report, check),
                requested_by=request.requested_by,
                promote=request.promote,
                more=self._sources(request.tier),
                shadow=self._shadow,
            )
        except (errors.PermanentError, errors.UnavailableError) as error:
            self._notify("failed", request.tier, None, str(error))
            raise
        reply = jobs.TrainReply.model_validate(asdict(trained))
        self._notify_all(reply, asked=request.promote)
        return reply

    def _promote_candidate(self, tier: Tier, who: str) -> None:
        """Promote the candidate if its verdict has come in since; the new version has to beat it."""
        try:
            promoted = decision.promote_candidate(tier, self._registry, self._shadow, who=who)
        except (errors.ConflictError, errors.RegistryError) as error:
            logger.warning("the candidate of tier %s was not promoted: %s", tier.name, error)
            return
        if promoted is not None:
            self._notify("promoted", tier.name, *promoted)

    def _notify_all(self, reply: jobs.TrainReply, *, asked: bool) -> None:
        figures = ", ".join(
            f"{name} {value:g}" for name, value in reply.metrics.items() if name == "macro_f1"
        )
        self._notify("trained", reply.tier, reply.version, figures or reply.pipeline, metrics=reply.metrics)
        if reply.promoted:
            self._notify("promoted", reply.tier, reply.version, "it passed the gate")
        elif asked:
            event = "candidate" if reply.candidate else "rejected"
            reasons = "; ".join(reply.reasons)
            self._notify(event, reply.tier, reply.version, reasons, reasons=reply.reasons)


class _Progress:
    """Checks at every step whether the run may continue, and reports when the stage or the percentage changes.

    Each report is a write to Redis.
    """

    def __init__(self, tier: str, report: Report, check: Callable[[], None]) -> None:
        self._check = check
        self._tier = tier
        self._report = report
        self._reported: tuple[str, int] | None = None

    def __call__(self, stage: str, fraction: float) -> None:
        self._check()
        news = (stage, int(fraction * 100))
        if news != self._reported:
            self._reported = news
            self._report(jobs.TrainProgress(tier=self._tier, stage=stage, fraction=round(fraction, 4)))
