"""Judge a version, certify the result, promote the version or not, and verify the certificate later."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pointsman_models.data import dataset, golden, leakage
from pointsman_models.data.dataset import Dataset, FileFacts
from pointsman_models.data.tiers import GateOptions, Tier
from pointsman_models.promotion.gate import Advice, Contender, Gate, GateResult, Shadow
from pointsman_models.registry import certificate as certificates
from pointsman_models.registry.aliases import Aliases
from pointsman_models.registry.card import Card, library_versions
from pointsman_models.registry.certificate import Certificate
from pointsman_models.registry.versions import MODEL, Registry
from pointsman_shared import errors
from pointsman_shared.data_files import utterances

GATE = "gate"
# Two versions that are equal in these are the same model.
LEARNT = ("data", "pipeline", "parameters", "classes", "temperature", "threshold")


def judge(
    tier: Tier,
    registry: Registry,
    card: Card,
    data: Dataset,
    wanted: Sequence[utterances.Utterance],
    *,
    champion: int | None,
    requested_by: str,
    leaks: leakage.Leaks | None = None,
) -> Certificate:
    """Judge a saved version.

    Args:
        tier: The tier, with the options of its gate.
        registry: Where the version and the champion are.
        card: The version's card.
        data: The tier's data.
        wanted: The tier's golden utterances.
        champion: The version to compare with. A promotion is valid only while it serves.
        requested_by: Who asked for the version.
        leaks: The near copies of test rows in training, if they are known already.
    """
    notes: list[str] = []
    gate = Gate(tier.gate, data, wanted, seed=card.seed, leaks=leaks)
    opponent = _load(registry, tier.name, champion, notes)
    classifier = registry.load_classifier(tier.name, card.version)
    result = gate.judge(Contender(classifier=classifier, size_bytes=card.files[MODEL].size), opponent)
    if opponent is None and champion is not None:
        result = _compared_with_card(result, card, registry.card(tier.name, champion), tier.gate)
    return Certificate(
        tier=tier.name,
        version=card.version,
        issued_at=datetime.now(UTC).isoformat(timespec="seconds"),
        approved_by=GATE if result.passed else None,
        requested_by=requested_by,
        reasons=result.reasons,
        gate=tier.gate.model_dump(mode="json"),
        champion=champion,
        figures=result.figures,
        test_sha256=certificates.digest_rows(gate.test),
        libraries=library_versions(),
        model_sha256=card.files[MODEL].sha256,
        notes=tuple(notes),
    )


def _load(registry: Registry, tier: str, version: int | None, notes: list[str]) -> Contender | None:
    if version is None:
        return None
    try:
        return Contender(classifier=registry.load_classifier(tier, version))
    except errors.RegistryError as error:
        notes.append(f"{error}; it was not compared with")
        return None


def _compared_with_card(result: GateResult, new: Card, champion: Card, options: GateOptions) -> GateResult:
    """Compare with the figures on the champion's card, because the champion cannot be loaded."""
    name = "macro_f1_with_out_of_scope" if "macro_f1_with_out_of_scope" in champion.metrics else "macro_f1"
    before, now = champion.metrics.get(name), new.metrics.get(name)
    if before is None or now is None or now >= before - options.margin:
        return result
    reason = (
        f"{name} is {now:.3f}; the champion, which cannot be loaded, had {before:.3f} when it was trained"
    )
    return GateResult(reasons=(*result.reasons, reason), figures=result.figures)


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


def verify(tier: Tier, registry: Registry, version: int, more: Sequence[dataset.Source] = ()) -> list[str]:
    """Recompute a version's certificate from the data and compare.

    Returns:
        The differences; none if the certificate holds.

    Raises:
        RegistryError: There is no such version, it has no certificate, or a model cannot be loaded.
    """
    issued = registry.certificate(tier.name, version)
    if issued is None:
        msg = f"{tier.name} {version} has no certificate: it was never judged"
        raise errors.RegistryError(msg)
    card, data = registry.card(tier.name, version), dataset.assemble(tier, more)
    found = judge(
        tier,
        registry,
        card,
        data,
        golden.read(tier),
        champion=issued.champion,
        requested_by=issued.requested_by,
    )
    different = certificates.differences(
        certificates.facts(issued) | _digests(card.data), certificates.facts(found) | _digests(data.files)
    )
    if bool(issued.reasons) != bool(found.reasons):
        then, now = ("was stopped" if one.reasons else "passed" for one in (issued, found))
        different.append(f"verdict: {then} in the certificate, now {now}: {'; '.join(found.reasons)}")
    return different


def _digests(files: Iterable[FileFacts]) -> dict[str, list[str]]:
    return {"data": [f"{file.name} {file.sha256}" for file in files]}
