"""Answering questions about model versions, and changing which one serves.

Producers never load a model. Any worker makes a change: the registry lets one of two simultaneous changes win. `verify`
needs the training data and a while, so a trainer does it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pointsman_models.data import tiers
from pointsman_models.data.dataset import Source
from pointsman_models.data.tiers import Tier
from pointsman_models.promotion import decision
from pointsman_models.promotion.advice import Shadow
from pointsman_models.registry.aliases import Aliases
from pointsman_models.registry.card import Card
from pointsman_models.registry.versions import KEPT_VERSIONS, Registry
from pointsman_shared import errors, names
from pointsman_shared.wire import jobs
from pointsman_workers.delivery.wiring import Notify

Lines = list[dict[str, Any]]


class Commands:
    """The registry, as seen from the queue."""

    def __init__(
        self,
        registry: Registry,
        tiers: Mapping[str, Tier],
        notify: Notify,
        sources: Callable[[str], list[Source]] | None = None,
        shadow: Shadow | None = None,
    ) -> None:
        self._registry = registry
        self._tiers = tiers
        self._notify = notify
        self._sources = sources
        self._shadow = shadow

    def answer(self, query: jobs.ModelsQuery) -> Lines:
        """Answer a query: an entry per tier, version (`list`) or change (`history`), one for everything else."""
        if query.tier is not None:
            tiers.find(self._tiers, query.tier)
        wanted = [query.tier] if query.tier else list(self._tiers)
        if query.action == "tiers":
            return [self._tier(tier) for tier in wanted]
        if query.action == "list":
            return [line for tier in wanted for line in self._list(tier)]
        if query.tier is None:
            msg = f"{query.action} needs a tier"
            raise errors.InvalidMessageError(msg)
        answers = {
            "show": self._show,
            "history": self._history,
            "diff": self._diff,
            "verify": self._verify,
            "promote": self._promote,
            "nominate": self._nominate,
            "rollback": self._rollback,
            "prune": self._prune,
        }
        return answers[query.action](query.tier, query)

    def _tier(self, tier: str) -> dict[str, Any]:
        aliases, problem = self._aliases(tier)
        return {"tier": tier, "champion": aliases.champion, "problem": problem}

    def _aliases(self, tier: str) -> tuple[Aliases, str | None]:
        """Return a tier's aliases, or none and why they cannot be read: the other tiers are answered for."""
        try:
            return self._registry.aliases(tier), None
        except errors.RegistryError as error:
            return Aliases(), str(error)

    def _list(self, tier: str) -> Lines:
        aliases, problem = self._aliases(tier)
        nothing = {"tier": tier, "version": None, "champion": False, "candidate": False}
        lines = [] if problem is None else [nothing | _broken(problem)]
        for version in self._registry.versions(tier):
            line = {
                "tier": tier,
                "version": version,
                "champion": version == aliases.champion,
                "candidate": version == aliases.candidate,
            }
            lines.append(line | self._facts(tier, version))
        return lines

    def _facts(self, tier: str, version: int) -> dict[str, Any]:
        """Return what is listed of a version; one that is broken does not keep the others from being listed."""
        try:
            card = self._registry.card(tier, version)
        except errors.RegistryError as error:
            return _broken(str(error))
        return {
            "created_at": card.created_at,
            "requested_by": card.requested_by,
            "pipeline": card.pipeline,
            "metrics": card.metrics,
            "problem": None,
        }

    def _show(self, tier: str, query: jobs.ModelsQuery) -> Lines:
        aliases = self._registry.aliases(tier)
        wanted = query.version or self._champion(tier)
        card = self._registry.card(tier, wanted).model_dump(mode="json")
        certificate = self._registry.certificate(tier, wanted)
        shown = {
            **card,
            "champion": wanted == aliases.champion,
            "candidate": wanted == aliases.candidate,
            "certificate": certificate.model_dump(mode="json") if certificate else None,
        }
        return [shown]

    def _history(self, tier: str, _: jobs.ModelsQuery) -> Lines:
        return [entry.model_dump(mode="json") for entry in self._registry.history(tier)]

    def _diff(self, tier: str, query: jobs.ModelsQuery) -> Lines:
        first = query.version or self._champion(tier)
        second = query.other or self._champion(tier)
        cards = [self._registry.card(tier, version) for version in (first, second)]
        before, after = map(_facts, cards)
        return [
            {"what": name, str(first): before.get(name), str(second): after.get(name)}
            for name in sorted({*before, *after})
            if before.get(name) != after.get(name)
        ]

    def _verify(self, tier: str, query: jobs.ModelsQuery) -> Lines:
        version = query.version or self._champion(tier)
        if self._sources is None:
            msg = f"verify is for a trainer: send it to the queue {names.TRAIN_QUEUE}"
            raise errors.InvalidMessageError(msg)
        from pointsman_models.promotion import judgement  # noqa: PLC0415  serving needs no scikit-learn

        different = judgement.verify(self._tiers[tier], self._registry, version, self._sources(tier))
        return [{"tier": tier, "version": version, "holds": not different, "differences": different}]

    def _promote(self, tier: str, query: jobs.ModelsQuery) -> Lines:
        version = _wanted(query)
        if query.force and not query.why:
            msg = "promote with force needs a why: the history keeps it"
            raise errors.InvalidMessageError(msg)
        before = self._registry.aliases(tier)
        # A version that cannot be loaded here would be refused by every worker: the client should know.
        self._registry.load_classifier(tier, version)
        certificate = self._registry.certificate(tier, version)
        why = query.why or "by hand"
        if certificate is None:
            case = decision.Case(objections=("it was never judged by the gate",), advice=None, evidence={})
        else:
            case = decision.examine(certificate, before, self._tiers[tier].gate, self._shadow)
        if certificate is not None and not case.reasons:
            decision.carry_out(self._registry, certificate, before, case, who=query.requested_by, why=why)
        elif query.force:
            evidence = {**case.evidence, "forced": True, "against": list(case.reasons)}
            self._registry.promote(tier, version, query.requested_by, why, expected=before, evidence=evidence)
        else:
            msg = f"{tier} {version} must not be promoted: {'; '.join(case.reasons)}"
            raise errors.RegistryError(msg, errors.Remedy.INSIST)
        self._notify("promoted", tier, version, f"by {query.requested_by}: {why}")
        return [{"tier": tier, "version": version, "previous": before.champion}]

    def _nominate(self, tier: str, query: jobs.ModelsQuery) -> Lines:
        version, before = _wanted(query), self._registry.aliases(tier)
        if version == before.champion:
            msg = f"{tier} {version} is the champion: there is nothing to compare it with"
            raise errors.RegistryError(msg)
        self._registry.load_classifier(tier, version)
        self._registry.nominate(tier, version, query.requested_by, query.why or "by hand")
        return [{"tier": tier, "version": version, "previous": before.candidate}]

    def _rollback(self, tier: str, query: jobs.ModelsQuery) -> Lines:
        before = self._registry.champion(tier)
        why = query.why or "by hand"
        version = self._registry.rollback(tier, query.requested_by, why)
        self._notify("rolled back", tier, version, f"from {before} by {query.requested_by}: {why}")
        return [{"tier": tier, "version": version, "previous": before}]

    def _prune(self, tier: str, query: jobs.ModelsQuery) -> Lines:
        return [{"tier": tier, "removed": self._registry.prune(tier, query.keep or KEPT_VERSIONS)}]

    def _champion(self, tier: str) -> int:
        champion = self._registry.champion(tier)
        if champion is None:
            msg = f"{tier} has no champion yet; it has to be trained"
            raise errors.RegistryError(msg)
        return champion


def _wanted(query: jobs.ModelsQuery) -> int:
    if query.version is None:
        msg = f"{query.action} needs a version"
        raise errors.InvalidMessageError(msg)
    return query.version


def _broken(problem: str) -> dict[str, Any]:
    return {"created_at": "", "requested_by": "", "pipeline": "", "metrics": {}, "problem": problem}


def _facts(card: Card) -> dict[str, Any]:
    """Return the facts of a card that are worth comparing."""
    facts: dict[str, Any] = {
        "pipeline": card.pipeline,
        "threshold": round(card.threshold, 4),
        "temperature": round(card.temperature, 4),
    }
    facts |= {f"metrics.{name}": value for name, value in card.metrics.items()}
    facts |= {f"recall.{intent}": figures.recall for intent, figures in card.per_intent.items()}
    facts |= {f"examples.{part}": count for part, count in card.examples.items()}
    facts |= {f"data.{file.name}": f"{file.rows} rows, {file.sha256[:12]}" for file in card.data}
    return facts | {f"libraries.{name}": version for name, version in card.libraries.items()}
