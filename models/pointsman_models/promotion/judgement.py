"""Judge a saved version, certify the result, and verify the certificate later."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from pointsman_models.data import dataset, golden, leakage
from pointsman_models.data.dataset import Dataset, FileFacts
from pointsman_models.data.tiers import GateOptions, Tier
from pointsman_models.inference.classifier import Classifier
from pointsman_models.promotion.gate import Gate, GateResult
from pointsman_models.registry import certificate as certificates
from pointsman_models.registry.card import Card, library_versions
from pointsman_models.registry.certificate import Certificate
from pointsman_models.registry.versions import MODEL, Registry
from pointsman_shared import errors
from pointsman_shared.data_files import utterances

GATE = "gate"


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
    result = gate.judge(classifier, opponent, size_bytes=card.files[MODEL].size)
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


def _load(registry: Registry, tier: str, version: int | None, notes: list[str]) -> Classifier | None:
    if version is None:
        return None
    try:
        return registry.load_classifier(tier, version)
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
    # An older version of Pointsman had options that are constants now.
    known = {name: value for name, value in issued.gate.items() if name in found.gate}
    different = certificates.differences(
        certificates.facts(issued.model_copy(update={"gate": known})) | _digests(card.data),
        certificates.facts(found) | _digests(data.files),
    )
    if bool(issued.reasons) != bool(found.reasons):
        then, now = ("was stopped" if one.reasons else "passed" for one in (issued, found))
        different.append(f"verdict: {then} in the certificate, now {now}: {'; '.join(found.reasons)}")
    return different


def _digests(files: Iterable[FileFacts]) -> dict[str, list[str]]:
    return {"data": [f"{file.name} {file.sha256}" for file in files]}
