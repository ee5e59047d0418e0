"""A version's trial: judged by the gate against the champion, written down, promoted or not, verified later."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pointsman_models.data import dataset, golden, leakage
from pointsman_models.data.dataset import Dataset
from pointsman_models.data.tiers import GateOptions, Tier
from pointsman_models.promotion.gate import Advice, Contender, Gate, Shadow, Verdict
from pointsman_models.registry import certificate as certificates
from pointsman_models.registry.card import Card, library_versions
from pointsman_models.registry.certificate import Certificate
from pointsman_models.registry.versions import MODEL, Aliases, Registry
from pointsman_shared import errors
from pointsman_shared.data_files import utterances

GATE = "gate"
# What two versions have in common that are the same model.
LEARNT = ("data", "pipeline", "parameters", "classes", "temperature", "threshold")


def hold(
    tier: Tier,
    registry: Registry,
    card: Card,
    data: Dataset,
    wanted: Sequence[utterances.Utterance],
    *,
    requested_by: str,
    leaks: leakage.Leaks | None = None,
) -> tuple[Certificate, Aliases]:
    """Judge a version that was just saved.

    Args:
        tier: The tier, with the options of its gate.
        registry: Where the version, the champion and the reference are.
        card: The version's card.
        data: The tier's data.
        wanted: The tier's golden utterances.
        requested_by: Who asked for the version.
        leaks: Which test rows have near copies in training, where that is known already.

    Returns:
        The certificate, and the aliases it was judged under: a promotion is good only as long as they hold.
    """
    aliases = registry.aliases(tier.name)
    reference = registry.champion(tier.gate.reference) if tier.gate.reference else None
    certificate = judge(
        tier,
        registry,
        card,
        data,
        wanted,
        champion=aliases.champion,
        reference=reference,
        requested_by=requested_by,
        leaks=leaks,
    )
    return certificate, aliases


def judge(
    tier: Tier,
    registry: Registry,
    card: Card,
    data: Dataset,
    wanted: Sequence[utterances.Utterance],
    *,
    champion: int | None,
    reference: int | None,
    requested_by: str,
    leaks: leakage.Leaks | None = None,
) -> Certificate:
    """Judge a version against given others; see `hold`."""
    notes: list[str] = []
    gate = Gate(tier.gate, data, wanted, seed=card.seed, leaks=leaks)
    opponent = _load(registry, tier.name, champion, notes)
    other = _load(registry, tier.gate.reference or "", reference, notes)
    new = Contender(
        classifier=registry.load_classifier(tier.name, card.version), size_bytes=card.files[MODEL].size
    )
    verdict = gate.judge(new, opponent, other)
    if opponent is None and champion is not None:
        verdict = _compared_with_card(verdict, card, registry.card(tier.name, champion), tier.gate)
    return Certificate(
        tier=tier.name,
        version=card.version,
        issued_at=datetime.now(UTC).isoformat(timespec="seconds"),
        approved_by=GATE if verdict.passed else None,
        requested_by=requested_by,
        reasons=verdict.reasons,
        gate=tier.gate.model_dump(mode="json"),
        champion=champion,
        reference=reference,
        figures=verdict.figures,
        data=data.files,
        test_sha256=certificates.digest_rows(gate.test),
        seeds={"training": card.seed, "bootstrap": card.seed},
        configuration=card.parameters,
        libraries=library_versions(),
        model_sha256=card.files[MODEL].sha256,
        notes=tuple(notes),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What speaks for and against promoting a version."""

    objections: tuple[str, ...]
    """What speaks against it, the shadow aside."""
    advice: Advice | None
    """The shadow's, where it is required."""
    evidence: dict[str, Any]
    """What the history is to keep."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Give all that speaks against it; nothing, if it may serve."""
        waiting = self.advice is not None and not self.advice.approves
        return (*self.objections, self.advice.reason) if self.advice and waiting else self.objections


def examine(certificate: Certificate, aliases: Aliases, options: GateOptions, shadow: Shadow | None) -> Case:
    """Put together what speaks for and against a promotion.

    Args:
        certificate: What the gate found.
        aliases: Who serves now, and is to be followed.
        options: What the tier's gate asks for now.
        shadow: Whose verdict it may ask for.
    """
    objections, champion = list(certificate.reasons), aliases.champion
    if champion != certificate.champion:
        judged = f"version {certificate.champion}" if certificate.champion else "no champion"
        objections.append(f"it was judged against {judged}, and version {champion} serves now")
    advice = None
    # Without a champion there is no traffic to watch beside.
    if options.require_shadow and champion is not None:
        advice = _ask(shadow, certificate.tier, certificate.version, champion, options)
    evidence = {
        "approved_by": certificate.approved_by,
        "comparison": certificate.figures.get("comparison"),
        **({"shadow": advice.evidence} if advice else {}),
    }
    return Case(objections=tuple(objections), advice=advice, evidence=evidence)


def carry_out(
    registry: Registry, certificate: Certificate, aliases: Aliases, case: Case, *, who: str, why: str = ""
) -> None:
    """Promote a version that nothing speaks against, and keep the shadow's verdict with its certificate.

    Raises:
        ConflictError: The aliases are others by now.
    """
    if case.advice is not None:
        registry.certify(certificate.model_copy(update={"shadow": case.advice.evidence}))
    registry.promote(
        certificate.tier,
        certificate.version,
        who,
        why or _case(certificate, case.advice),
        expected=aliases,
        evidence=case.evidence,
    )


def promote(
    registry: Registry,
    certificate: Certificate,
    aliases: Aliases,
    options: GateOptions,
    *,
    shadow: Shadow | None = None,
) -> list[str]:
    """Promote a version that was just judged, or make it the candidate where the shadow has yet to watch it.

    Returns:
        Why it was not promoted; nothing if it was.

    Raises:
        ConflictError: The champion it was compared with serves no longer.
    """
    case = examine(certificate, aliases, options, shadow)
    if (twin := _rolled_back_twin(registry, certificate)) is not None:
        return [
            f"it is the same model as version {twin}, which was rolled back; only somebody can promote it",
            *case.objections,
        ]
    if not case.reasons:
        carry_out(registry, certificate, aliases, case, who=certificate.requested_by)
        return []
    if case.objections:
        return list(case.reasons)
    return [_nominate(registry, certificate, aliases, options, shadow)]


def _rolled_back_twin(registry: Registry, certificate: Certificate) -> int | None:
    """Find the version that went back, if a version has learnt the same, from the same data."""
    new = registry.card(certificate.tier, certificate.version)
    for version in sorted(registry.rolled_back(certificate.tier) & set(registry.versions(certificate.tier))):
        old = registry.card(certificate.tier, version)
        if all(getattr(old, name) == getattr(new, name) for name in LEARNT):
            return version
    return None


def promote_candidate(
    tier: Tier, registry: Registry, shadow: Shadow | None, *, who: str
) -> tuple[int, str] | None:
    """Promote the candidate, if the tier waits for the shadow's verdict and that has come in.

    Returns:
        Its version, and why; None if there is nothing to be done.

    Raises:
        ConflictError: The aliases were changed at the same time.
        RegistryError: It cannot be loaded.
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


def verify(tier: Tier, registry: Registry, version: int, more: Sequence[dataset.Source] = ()) -> list[str]:
    """Work a version's certificate out again from the data and say where it differs.

    Returns:
        The differences; none if the certificate holds.

    Raises:
        RegistryError: There is no such version, it has no certificate, or a model cannot be loaded.
    """
    issued = registry.certificate(tier.name, version)
    if issued is None:
        msg = f"{tier.name} {version} has no certificate: it was never judged"
        raise errors.RegistryError(msg)
    found = judge(
        tier,
        registry,
        registry.card(tier.name, version),
        dataset.assemble(tier, more),
        golden.read(tier),
        champion=issued.champion,
        reference=issued.reference,
        requested_by=issued.requested_by,
    )
    different = certificates.differences(issued, found)
    if bool(issued.reasons) != bool(found.reasons):
        verdicts = ["passed" if not one.reasons else "was stopped" for one in (issued, found)]
        different.append(
            f"verdict: {verdicts[0]} in the certificate, now {verdicts[1]}: {'; '.join(found.reasons)}"
        )
    return different


def _load(registry: Registry, tier: str, version: int | None, notes: list[str]) -> Contender | None:
    if version is None:
        return None
    try:
        return Contender(classifier=registry.load_classifier(tier, version))
    except errors.RegistryError as error:
        notes.append(f"{error}; it was not compared with")
        return None


def _compared_with_card(verdict: Verdict, new: Card, champion: Card, options: GateOptions) -> Verdict:
    """Compare with the figures on the champion's card, where it cannot be loaded any more."""
    name = "macro_f1_with_out_of_scope" if "macro_f1_with_out_of_scope" in champion.metrics else "macro_f1"
    before, now = champion.metrics.get(name), new.metrics.get(name)
    if before is None or now is None or now >= before - options.margin:
        return verdict
    reason = (
        f"{name} is {now:.3f}; the champion, which cannot be loaded, had {before:.3f} when it was trained"
    )
    return Verdict(reasons=(*verdict.reasons, reason), figures=verdict.figures)


def _ask(shadow: Shadow | None, tier: str, version: int, champion: int, options: GateOptions) -> Advice:
    if shadow is None:
        return Advice(reason="the shadow is to judge it, and nobody asks the shadow here")
    return shadow.advise(tier, version, champion=champion, options=options)


def _nominate(
    registry: Registry,
    certificate: Certificate,
    aliases: Aliases,
    options: GateOptions,
    shadow: Shadow | None,
) -> str:
    """Make a version the candidate, unless labels are coming in for the present one; say which."""
    tier, version, watched = certificate.tier, certificate.version, aliases.candidate
    if watched is not None and aliases.champion is not None:
        advice = _ask(shadow, tier, watched, aliases.champion, options)
        if advice.watching:
            return f"it passed the gate, but version {watched} stays the candidate: {advice.reason}"
    registry.nominate(tier, version, certificate.requested_by, "it passed the gate; the shadow is to judge")
    return "it passed the gate and is the candidate now; the shadow's verdict is awaited"


def _case(certificate: Certificate, advice: Advice | None) -> str:
    found = f"{certificate.figures['golden']} golden utterances are right"
    compared = certificate.figures.get("comparison")
    if compared is not None:
        gained = compared["macro_f1"] - compared["champion_macro_f1"]
        found += f"; macro-F1 {gained:+.3f}, at least {compared['lower_bound']:+.3f}"
    return f"{found}; {advice.reason}" if advice is not None else found
