"""The shadow's verdict on a version, for the gate: read from the same report that people read."""

from typing import Any, Final

from pointsman_models.data.tiers import GateOptions
from pointsman_models.promotion.advice import SHADOW_MARGIN, Advice
from pointsman_shared import errors, names
from pointsman_shared.wire import shadow, shadow_report
from pointsman_workers.shadow.queries import Queries

# Which verdicts satisfy which demand. A verdict of worse, by however little, satisfies none.
_ENOUGH: Final = {"no worse": {"no worse", "better"}, "better": {"better"}}


class ShadowAdvisor:
    """Says whether the comparison of a version with the champion is enough to promote it."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    def advise(self, tier: str, version: int, *, champion: int, options: GateOptions) -> Advice:
        """Advise on a version, against the champion that serves, at the gate's error rate.

        A comparison that is absent or cannot be read leads to the advice to wait.
        """
        served, candidate = names.version_name(tier, champion), names.version_name(tier, version)
        query = shadow.Query(
            action="report",
            served=served,
            candidate=candidate,
            alpha=options.error_rate,
            margin=SHADOW_MARGIN,
        )
        pair = names.pair_name(candidate, served)
        try:
            report = shadow_report.ShadowReport.parse(self._queries.answer(query))
        except errors.InvalidDataError:
            return Advice(reason=f"the shadow has not compared {pair} yet")
        except errors.RetryableError as error:
            return Advice(reason=f"the comparison of {pair} cannot be read now ({error})")
        return _judge(report, pair, options.require_shadow or "no worse")


def _judge(report: shadow_report.ShadowReport, pair: str, wanted: str) -> Advice:
    evidence: dict[str, Any] = {
        "pair": pair,
        "texts": report.agreement.texts if report.agreement else 0,
        "asked": wanted,
    }
    verdict = report.verdict
    if verdict is None:
        reason = f"the shadow keeps looking at {pair}: none of its disagreements is labelled yet"
        return Advice(reason=reason, evidence=evidence)
    labels = verdict.wins + verdict.ties + verdict.losses
    evidence |= verdict.model_dump(
        mode="json", include={"decision", "alpha", "margin", "wins", "ties", "losses", "disagreement_bound"}
    )
    counted = f"{labels} labels: {verdict.wins} wins, {verdict.ties} ties, {verdict.losses} losses"
    if verdict.decision in _ENOUGH[wanted]:
        return Advice(
            approves=True, reason=f"the shadow finds {pair} {verdict.decision} ({counted})", evidence=evidence
        )
    if verdict.decision == "worse":
        return Advice(reason=f"the shadow finds {pair} worse ({counted})", evidence=evidence)
    statement = verdict.better if wanted == "better" else verdict.no_worse
    further = (
        f"about {statement.further:,} more labels at this rate" if statement.further else "no end in sight"
    )
    found = "keeps looking at" if verdict.decision == "keep looking" else f"finds {verdict.decision}"
    return Advice(
        reason=f"the shadow {found} {pair}, {wanted} is asked: {further} ({counted})",
        watching=labels > 0,
        evidence=evidence,
    )
