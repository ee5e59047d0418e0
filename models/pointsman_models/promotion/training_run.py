"""A training run: train a tier, save the version, judge it, and promote it if the gate and the shadow allow it."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pointsman_models.data import dataset, golden, leakage, tiers
from pointsman_models.promotion import advice, decision, judgement
from pointsman_models.registry.versions import Registry
from pointsman_models.training import train as training
from pointsman_models.training.train import DEFAULT_SEED, EVALUATED, FITTED, SAVED, Progress
from pointsman_shared import errors

# The run warns of an intent that has lost more than this share of its test rows since the champion was trained.
SHRUNK = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedVersion:
    """The result of a training run."""

    tier: str
    version: int
    promoted: bool
    reasons: tuple[str, ...]
    """Why it was not promoted; empty if it was, or if no promotion was asked for."""
    candidate: bool = False
    """Whether it passed the gate and waits for the shadow's verdict."""
    metrics: dict[str, float]
    pipeline: str
    threshold: float
    duration_s: float
    warnings: tuple[str, ...]


def train(
    tier: tiers.Tier,
    registry: Registry,
    *,
    seed: int = DEFAULT_SEED,
    progress: Progress = training.silent,
    requested_by: str = "anonymous",
    promote: bool = True,
    more: Sequence[dataset.Source] = (),
    shadow: advice.Shadow | None = None,
) -> TrainedVersion:
    """Train a tier and keep the result as a new version.

    Args:
        tier: What to train.
        registry: Where to keep it.
        seed: Fixes folds and solvers: the same data, settings and libraries give the same model.
        progress: Called with the stage and the share of the run that is done, in [0, 1], several times a second.
        requested_by: Who asked for it, for the card and the history.
        promote: Whether the version becomes the champion if the gate lets it through. The gate judges it anyway.
        more: Labelled rows beside the tier's files; the files overrule them.
        shadow: Where the gate gets the shadow's verdict, if the tier requires one.

    Raises:
        ConflictError: Another version was promoted in the meantime; this one is kept.
        InvalidDataError: The data cannot be trained on; the message says why, with lines.
        SettingsError: The tier's search leaves nothing to try.
    """
    began = time.monotonic()
    progress("reading", 0.0)
    data = dataset.assemble(tier, more)
    leaks = leakage.look(data)
    data = data.with_warnings(*leaks.warnings, *_changes(tier, data, registry))
    wanted = golden.read(tier)
    fitted = training.fit(data, tier.search, seed=seed, progress=progress)
    progress("evaluating", FITTED)
    card = training.describe(data, wanted, fitted, seed=seed, requested_by=requested_by, began=began)
    progress("saving", EVALUATED)
    saved = registry.save(tier.name, fitted.model, card)
    progress("judging", SAVED)
    aliases = registry.aliases(tier.name)
    certificate = judgement.judge(
        tier, registry, saved, data, wanted, champion=aliases.champion, requested_by=requested_by, leaks=leaks
    )
    registry.certify(certificate)
    reasons = decision.promote(registry, certificate, aliases, tier.gate, shadow=shadow) if promote else []
    progress("done", 1.0)
    return TrainedVersion(
        tier=saved.tier,
        version=saved.version,
        promoted=promote and not reasons,
        reasons=tuple(reasons),
        candidate=bool(reasons) and registry.aliases(tier.name).candidate == saved.version,
        metrics=saved.metrics,
        pipeline=saved.pipeline,
        threshold=saved.threshold,
        duration_s=saved.duration_s,
        warnings=(*saved.warnings, *certificate.notes),
    )


def _changes(tier: tiers.Tier, data: dataset.Dataset, registry: Registry) -> list[str]:
    """List where the data offers less than the champion learnt from: an export may be incomplete."""
    champion = registry.champion(tier.name)
    if champion is None:
        return []
    try:
        before = registry.card(tier.name, champion)
    except errors.RegistryError:
        return []
    tested = Counter(data.part("test").labels)
    found = []
    for intent in before.intents:
        known = before.per_intent.get(intent)
        if intent not in tier.intents:
            verdict = (
                "which gate.may_drop allows" if intent in tier.gate.may_drop else "so the gate will stop it"
            )
            found.append(f"intent {intent!r}, which version {champion} answers, has vanished, {verdict}")
        elif known is not None and tested[intent] < SHRUNK * known.support:
            found.append(
                f"intent {intent!r} has {tested[intent]} test rows; version {champion} was measured by {known.support}"
            )
    return found
