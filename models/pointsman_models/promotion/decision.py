"""Decide whether a version that was judged becomes the champion, the candidate, or neither."""

from dataclasses import dataclass
from typing import Any

from pointsman_models.data.tiers import GateOptions, Tier
from pointsman_models.promotion.advice import Advice, Shadow
from pointsman_models.registry.aliases import Aliases
from pointsman_models.registry.card import Card
from pointsman_models.registry.certificate import Certificate
from pointsman_models.registry.versions import Registry
from pointsman_shared import errors

# Two versions that are equal in these are the same model.
LEARNT = ("data", "pipeline", "parameters", "classes", "temperature", "threshold")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What supports and what opposes the promotion of a version."""

    objections: tuple[str, ...]
    """The reasons against it, except the shadow's."""
    advice: Advice | None
    """The shadow's advice, if the tier requires it."""
    evidence: dict[str, Any]
    """What the history keeps."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return all reasons against it; none, if it may serve."""
        waiting = self.advice is not None and not self.advice.approves
        return (*self.objections, self.advice.reason) if self.advice and waiting else self.objections


def examine(certificate: Certificate, aliases: Aliases, options: GateOptions, shadow: Shadow | None) -> Case:
    """Collect the reasons for and against a promotion.

    Args:
        certificate: What the gate found.
        aliases: The present aliases.
        options: The present options of the tier's gate.
        shadow: The comparison to ask for a verdict.
    """
    objections, champion = list(certificate.reasons), aliases.champion
    if champion != certificate.champion:
        judged = f"version {certificate.champion}" if certificate.champion else "no champion"
        objections.append(f"it was judged against {judged}, and version {champion} serves now")
    advice = None
    # Without a champion there is no traffic to compare on.
    if options.require_shadow and champion is not None:
        advice = _ask(shadow, certificate.tier, certificate.version, champion, options)
    evidence = {
        "approved_by": certificate.approved_by,
        "comparison": certificate.figures.get("comparison"),
        **({"shadow": advice.evidence} if advice else {}),
    }
    return Case(objections=tuple(objections), advice=advice, evidence=evidence)


def _ask(shadow: Shadow | None, tier: str, version: int, champion: int, options: GateOptions) -> Advice:
    if shadow is None:
        return Advice(reason="the tier requires the shadow's verdict, which cannot be asked for here")
    return shadow.advise(tier, version, champion=champion, options=options)


def carry_out(
    registry: Registry, certificate: Certificate, aliases: Aliases, case: Case, *, who: str, why: str = ""
) -> None:
    """Promote a version, and keep the shadow's verdict in its certificate.

    Raises:
        ConflictError: The aliases have changed.
    """
    if case.advice is not None:
        registry.certify(certificate.model_copy(update={"shadow": case.advice.evidence}))
    registry.promote(
        certificate.tier,
        certificate.version,
        who,
        why or _grounds(certificate, case.advice),
        expected=aliases,
        evidence=case.evidence,
    )


def _grounds(certificate: Certificate, advice: Advice | None) -> str:
    found = f"{certificate.figures['golden']} golden utterances are right"
    compared = certificate.figures.get("comparison")
    if compared is not None:
        gained = compared["macro_f1"] - compared["champion_macro_f1"]
        found += f"; macro-F1 {gained:+.3f}, at least {compared['lower_bound']:+.3f}"
    return f"{found}; {advice.reason}" if advice is not None else found


def promote(
    registry: Registry,
    certificate: Certificate,
    aliases: Aliases,
    options: GateOptions,
    *,
    shadow: Shadow | None = None,
) -> list[str]:
    """Promote a version that was just judged, or make it the candidate if the shadow has to compare it first.

    Returns:
        Why it was not promoted; nothing if it was.

    Raises:
        ConflictError: The champion that it was compared with no longer serves.
    """
    case = examine(certificate, aliases, options, shadow)
    if (twin := _rolled_back_twin(registry, certificate)) is not None:
        return [
            f"it is the same model as version {twin}, which was rolled back; promote it by hand to use it",
            *case.objections,
        ]
    if not case.reasons:
        carry_out(registry, certificate, aliases, case, who=certificate.requested_by)
        return []
    tier, champion, candidate = certificate.tier, aliases.champion, aliases.candidate
    if case.objections or champion is None:
        return list(case.reasons)
    advice = _ask(shadow, tier, candidate, champion, options) if candidate is not None else None
    if advice is not None and advice.watching:
        return [f"it passed the gate, but version {candidate} stays the candidate: {advice.reason}"]
    who = certificate.requested_by
    registry.nominate(tier, certificate.version, who, "it passed the gate; the shadow is to judge")
    return ["it passed the gate and is the candidate now; the shadow's verdict is awaited"]


def _rolled_back_twin(registry: Registry, certificate: Certificate) -> int | None:
    """Find the rolled-back version that learnt the same from the same data."""
    tier, new = certificate.tier, registry.card(certificate.tier, certificate.version)
    for version in sorted(registry.rolled_back(tier) & set(registry.versions(tier))):
        old = registry.card(tier, version)
        # A version that cannot be loaded never served, so its rollback says nothing about the model.
        if all(getattr(old, name) == getattr(new, name) for name in LEARNT) and _loads(registry, old):
            return version
    return None


def _loads(registry: Registry, card: Card) -> bool:
    try:
        registry.load_classifier(card.tier, card.version)
    except errors.RegistryError:
        return False
    return True


def promote_candidate(
    tier: Tier, registry: Registry, shadow: Shadow | None, *, who: str
) -> tuple[int, str] | None:
    """Promote the candidate, if the tier requires the shadow's verdict and the verdict is there.

    Returns:
        Its version, and why; None if nothing was promoted.

    Raises:
        ConflictError: The aliases were changed at the same time.
        RegistryError: The candidate cannot be loaded.
    """
    aliases = registry.aliases(tier.name)
    if tier.gate.require_shadow is None or aliases.candidate is None:
        return None
    certificate = registry.certificate(tier.name, aliases.candidate)
    if certificate is None:
        return None
    case = examine(certificate, aliases, tier.gate, shadow)
    if case.reasons or case.advice is None:
        return None
    registry.load_classifier(tier.name, aliases.candidate)
    carry_out(registry, certificate, aliases, case, who=who)
    return aliases.candidate, case.advice.reason
