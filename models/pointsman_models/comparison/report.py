"""Compute the report on a pair of models from the counts and the labels."""

from collections.abc import Mapping, Sequence

from pointsman_models.comparison import accuracy, agreement, labels, verdict
from pointsman_models.comparison import counts as comparison
from pointsman_shared.wire import shadow_report as wire

MAX_FLOWS = 200
# Beyond this share, missed texts can change the agreement by more than the differences of interest.
MUCH_MISSED = 0.05


def build(
    found: comparison.Comparison,
    *,
    served: str,
    candidate: str,
    pairs: Sequence[labels.LabelledPair] = (),
    disagreements: Sequence[wire.Disagreement] = (),
    alpha: float = verdict.ALPHA,
    margin: float = verdict.MARGIN,
) -> wire.ShadowReport:
    """Compute the report.

    Args:
        found: The counts, missed texts included.
        served: The served model, as `pro@7`.
        candidate: The other model.
        pairs: The labelled pairs, in the order in which the labels arrived.
        disagreements: The sample to show, masked already.
        alpha: The error rate of the whole verdict, in (0, 1).
        margin: The accuracy that a candidate may lose while it is called no worse, in (0, 1).
    """
    texts, agreed, flows = found.texts, found.agreed, found.flows()
    _, counts = agreement.table(flows)
    moves = agreement.flows(flows)
    judged = verdict.judge(pairs, texts=texts, agreed=agreed, alpha=alpha, margin=margin)
    estimated = accuracy.estimate(pairs, texts=texts, agreed=agreed)
    missed = _missed(found)
    return wire.ShadowReport(
        served=served,
        candidate=candidate,
        agreement=agreement.rate(agreed, texts),
        kappa=agreement.kappa(counts),
        homogeneity=agreement.stuart_maxwell(counts),
        symmetry=agreement.bowker(counts),
        flows=moves[:MAX_FLOWS],
        flows_left_out=sum(move.texts for move in moves[MAX_FLOWS:]),
        intents=agreement.by_intent(flows),
        days=_days(found),
        attributes=_attributes(found),
        confidence=_confidence(found),
        latency=_latency(found),
        missed=missed,
        accuracy=estimated if pairs else None,
        verdict=judged if pairs or judged.decision != "keep looking" else None,
        disagreements=list(disagreements),
        warnings=_warnings(missed, estimated, judged),
    )


def _days(found: comparison.Comparison) -> list[wire.Day]:
    tallies, missed = found.tallies("day"), found.missed_by("day")
    nothing = comparison.Tally(texts=0, agreed=0)
    return [
        wire.Day(day=day, agreement=_rate(tallies.get(day, nothing)), missed=missed.get(day, 0))
        for day in sorted(tallies.keys() | missed.keys())
    ]


def _attributes(found: comparison.Comparison) -> list[wire.AttributeValue]:
    return [
        wire.AttributeValue(attribute=attribute, value=value, agreement=rate)
        for attribute in found.attributes()
        for value, tally in found.tallies("attribute", attribute).items()
        if (rate := _rate(tally)) is not None
    ]


def _rate(tally: comparison.Tally) -> wire.Rate | None:
    return agreement.rate(tally.agreed, tally.texts)


def _confidence(found: comparison.Comparison) -> wire.Confidence:
    served, candidate = found.side("served"), found.side("candidate")
    return wire.Confidence(
        served_mean=served.mean_confidence,
        candidate_mean=candidate.mean_confidence,
        shift=agreement.confidence_shift(found.shift()),
        served_histogram=list(served.confidence_histogram),
        candidate_histogram=list(candidate.confidence_histogram),
    )


def _latency(found: comparison.Comparison) -> wire.Latency:
    served, candidate = found.side("served"), found.side("candidate")
    return wire.Latency(
        served_mean_ms=served.mean_latency_ms,
        candidate_mean_ms=candidate.mean_latency_ms,
        ratio=agreement.latency_ratio(served, candidate),
        edges_ms=list(comparison.LATENCY_EDGES_MS),
        served_histogram=list(served.latency_histogram),
        candidate_histogram=list(candidate.latency_histogram),
    )


def _missed(found: comparison.Comparison) -> wire.Missed:
    shed, failed = found.missed("shed"), found.missed("failed")
    missing = sum(shed.values()) + sum(failed.values())
    sampled = found.texts + missing
    return wire.Missed(
        texts=missing,
        share=missing / sampled if sampled else 0.0,
        shed=shed,
        failed=failed,
        agreement_low=found.agreed / sampled if sampled else None,
        agreement_high=(found.agreed + missing) / sampled if sampled else None,
        agreement_reweighted=_reweighted(found),
        intent_distance=_distance(_served_intents(found), found.missed_by("intent")),
    )


def _served_intents(found: comparison.Comparison) -> dict[str, int]:
    return {one.intent: one.served for one in agreement.by_intent(found.flows()) if one.served}


def _reweighted(found: comparison.Comparison) -> float | None:
    """Weight each served intent's agreement by its share of all sampled texts, missed texts included.

    Missed texts of an intent that was never compared are left out.
    """
    missed, flows = found.missed_by("intent"), found.flows()
    compared = _served_intents(found)
    sampled = {intent: count + missed.get(intent, 0) for intent, count in compared.items()}
    if not missed or not sampled:
        return None
    agreed = sum(sampled[intent] * flows.get((intent, intent), 0) / compared[intent] for intent in compared)
    return agreed / sum(sampled.values())


def _distance(one: Mapping[str, int], other: Mapping[str, int]) -> float | None:
    one_total, other_total = sum(one.values()), sum(other.values())
    if not one_total or not other_total:
        return None
    intents = one.keys() | other.keys()
    gaps = (abs(one.get(name, 0) / one_total - other.get(name, 0) / other_total) for name in intents)
    return sum(gaps) / 2


def _warnings(missed: wire.Missed, labelled: wire.Accuracy, judged: wire.Verdict) -> list[str]:
    found: list[str] = []
    if missed.share > MUCH_MISSED:
        found.append(
            f"{missed.share:.0%} of the sampled texts were not compared; if they are unlike the others, "
            f"the agreement is anything between {missed.agreement_low:.1%} and {missed.agreement_high:.1%}."
        )
    if labelled.set_aside:
        found.append(
            f"Of the labels, {labelled.set_aside} do not count, because their texts were not drawn at random: "
            "people who correct wrong answers pick the served model's mistakes."
        )
    if labelled.labelled_disagreements and not labelled.labelled_agreements and labelled.served is None:
        found.append(
            "No agreement is labelled, so neither accuracy can be estimated, only their difference; "
            "the label queue draws some agreements too."
        )
    if judged.contradictory:
        found.append(
            "The labels were evidence enough for better and later for worse, or the other way round: the traffic or "
            "the labelling has changed, and no decision is made. Compare afresh."
        )
    if judged.decision == "worse" and judged.no_worse.made_after is not None:
        found.append(f"The candidate is worse, but by less than the margin of {judged.margin:.1%}.")
    return found
