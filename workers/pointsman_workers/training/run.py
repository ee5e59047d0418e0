"""Doing a training message: find the tier, train it, say how far it is."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from pointsman_models.data.tiers import Tier
from pointsman_models.promotion import decision, training_run
from pointsman_models.promotion.gate import Shadow
from pointsman_models.registry.versions import Registry
from pointsman_shared import errors
from pointsman_shared.wire import jobs
from pointsman_workers.training import claim as training_claim
from pointsman_workers.training.notifications import Event, Notices
from pointsman_workers.training.sources import Feed, gather

logger = logging.getLogger(__name__)

Report = Callable[[jobs.TrainProgress], None]


class Retraining:
    """Trains declared tiers into a registry.

    Args:
        registry: Where versions are kept.
        tiers: The tiers that are declared, by name.
        book: Who keeps one tier from being trained twice at a time, and one run from being done twice.
        notices: Who tells people how it went.
        feeds: Where labelled rows come from beside the tiers' files.
        shadow: Whose verdict a tier's gate may require.
    """

    def __init__(
        self,
        registry: Registry,
        tiers: Mapping[str, Tier],
        *,
        book: training_claim.Book,
        notices: Notices,
        feeds: Sequence[Feed] = (),
        shadow: Shadow | None = None,
    ) -> None:
        self._registry = registry
        self._tiers = tiers
        self._book = book
        self._notices = notices
        self._feeds = feeds
        self._shadow = shadow

    def train(self, request: jobs.TrainRequest, run: str, report: Report) -> jobs.TrainReply:
        """Train a tier, once per run.

        Args:
            request: Which tier, who asked, whether it may become the champion.
            run: The run's id; done before, its end is given again.
            report: Told how far the run is, each time that is worth telling.

        Raises:
            UnknownTierError: No such tier is declared.
            BusyError: Another run trains the tier.
            CancelledError: Somebody asked the run to stop.
            PermanentError: The data or the settings cannot be used.
        """
        if request.tier not in self._tiers:
            msg = f"no tier {request.tier!r} is declared; there are: {', '.join(self._tiers)}"
            raise errors.UnknownTierError(msg)
        return training_claim.do_once(
            self._book, request.tier, run, lambda check: self._train(request, report, check)
        )

    def _train(
        self, request: jobs.TrainRequest, report: Report, check: Callable[[], None]
    ) -> jobs.TrainReply:
        tier = self._tiers[request.tier]
        try:
            if request.promote:
                self._promote_candidate(tier, request.requested_by)
            trained = training_run.train(
                tier,
                self._registry,
                progress=_Sparing(request.tier, report, check),
                requested_by=request.requested_by,
                promote=request.promote,
                more=gather(self._feeds, request.tier),
                shadow=self._shadow,
            )
        except errors.PermanentError as error:
            self._notices.tell("failed", request.tier, None, str(error))
            raise
        reply = jobs.TrainReply.model_validate(asdict(trained))
        self._tell(reply, asked=request.promote)
        return reply

    def _promote_candidate(self, tier: Tier, who: str) -> None:
        """Let the candidate serve whose verdict came in since the last run; what is trained now has to beat it."""
        try:
            promoted = decision.promote_candidate(tier, self._registry, self._shadow, who=who)
        except (errors.ConflictError, errors.RegistryError) as error:
            logger.warning("the candidate of tier %s was not promoted: %s", tier.name, error)
            return
        if promoted is not None:
            self._notices.tell("promoted", tier.name, *promoted)

    def _tell(self, reply: jobs.TrainReply, *, asked: bool) -> None:
        figures = ", ".join(
            f"{name} {value:g}" for name, value in reply.metrics.items() if name == "macro_f1"
        )
        self._notices.tell(
            "trained", reply.tier, reply.version, figures or reply.pipeline, metrics=reply.metrics
        )
        if reply.promoted:
            self._notices.tell("promoted", reply.tier, reply.version, "it passed the gate")
        elif asked:
            event: Event = "candidate" if reply.candidate else "rejected"
            reasons = "; ".join(reply.reasons)
            self._notices.tell(event, reply.tier, reply.version, reasons, reasons=reply.reasons)


class _Sparing:
    """Passes progress on when the stage or the percentage changes: each report is a write to Redis.

    What is asked at every step is whether the run may go on.
    """

    def __init__(self, tier: str, report: Report, check: Callable[[], None]) -> None:
        self._check = check
        self._tier = tier
        self._report = report
        self._told: tuple[str, int] | None = None

    def __call__(self, stage: str, fraction: float) -> None:
        self._check()
        worth_telling = (stage, int(fraction * 100))
        if worth_telling != self._told:
            self._told = worth_telling
            self._report(jobs.TrainProgress(tier=self._tier, stage=stage, fraction=round(fraction, 4)))
