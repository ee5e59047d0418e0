"""The sentences of a report on a pair of models, which the terminal and the page share.

An estimate comes with its interval, a statement with its error rate, and a sentence says so if a figure is unknown.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pointsman_producer.report.numbers import count, p_value, percent, points, share
from pointsman_shared.wire import shadow_report

# The usual limit; the p-value is shown for readers who want another.
NOTABLE_P = 0.05


class Decision(NamedTuple):
    """The advice, how certain it is, and its tone: `good`, `bad` or `open`."""

    headline: str
    explanation: str
    tone: str


def agreement(report: shadow_report.ShadowReport) -> str:
    """Describe how often the models agree."""
    found = report.agreement
    if found is None:
        return "No text was compared yet, so nothing is known."
    return (
        f"Of {count(found.texts, 'text')} both gave the same intent to {found.agreed:,}: "
        f"{percent(found.value)}, and with 95% confidence between {percent(found.low)} and {percent(found.high)}."
    )


def decision(report: shadow_report.ShadowReport) -> Decision:
    """Advise whether to switch, with the error rate."""
    found = report.verdict
    if found is None:
        return _undecided(report)
    if found.decision == "keep looking":
        return _keep_looking(report, found)
    served, candidate = report.served, report.candidate
    no_worse = (
        f"{candidate} is no worse than {served}: it loses less than {found.margin:.1%} accuracy, if any."
    )
    headline, statement, tone = {
        "better": (f"Switch: {candidate} is more accurate than {served}.", found.better, "good"),
        "worse": (f"Keep {served}: {candidate} is less accurate.", found.worse, "bad"),
        "no worse": (no_worse, found.no_worse, "good"),
    }[found.decision]
    grounds = f"It took {count(statement.made_after or 0, 'labelled disagreement')}."
    if statement.made_after == 0:
        bound = percent(found.disagreement_bound)
        grounds = f"The models disagree on less than {bound} of the texts, so no label was needed."
    risk = (
        f"If this is false, the probability of ever reading it is at most {statement.error_rate:.1%}; that of any false "
        f"verdict is at most {found.alpha:.1%}, however often you look."
    )
    return Decision(headline, f"{grounds} {risk}", tone)


def _undecided(report: shadow_report.ShadowReport) -> Decision:
    explanation = "No text was compared yet."
    if report.agreement is not None:
        explanation = (
            "Agreement alone cannot say which model is right where they differ. Label disagreements: "
            "the label queue gives those that decide most."
        )
    return Decision("No verdict yet: nothing is labelled.", explanation, "open")


def _keep_looking(report: shadow_report.ShadowReport, found: shadow_report.Verdict) -> Decision:
    if found.contradictory:
        explanation = (
            "There was enough evidence for better and for worse, so the traffic or the labelling has changed."
        )
        return Decision("No verdict: the labels contradict each other.", explanation, "open")
    more = "If further labels fall as these did, no number in sight would decide it."
    if found.further is not None:
        more = f"About {count(found.further, 'more labelled disagreement')} would decide it if they fall as they have."
    explanation = (
        f"The labels so far do not tell {report.served} and {report.candidate} apart. {more} Look as often as you "
        f"like: the final verdict is false with a probability of at most {found.alpha:.1%}."
    )
    return Decision("Keep looking.", explanation, "open")


def balance(report: shadow_report.ShadowReport) -> Iterator[str]:
    """Describe whether the models give the same intents equally often, and whether moves go one way."""
    if report.kappa is not None:
        kappa = report.kappa
        yield (
            f"Cohen's kappa is {kappa.value:.2f} ({kappa.low:.2f} to {kappa.high:.2f}): "
            "0 is the agreement of chance alone, 1 is full agreement."
        )
    for found, test, differ, alike in (
        (
            report.homogeneity,
            "Stuart-Maxwell",
            "The candidate gives some intents more often than the served model, and others less",
            "There is no sign that the candidate gives any intent more or less often than the served model",
        ),
        (
            report.symmetry,
            "Bowker",
            "Between some intents more texts move one way than back",
            "There is no sign that texts move between intents more one way than back",
        ),
    ):
        if found is not None:
            rough = ", roughly, since most moves are rare" if found.sparse else ""
            said = differ if found.p_value < NOTABLE_P else alike
            yield f"{said} ({test}, {p_value(found.p_value)}{rough})."


def confidence(report: shadow_report.ShadowReport) -> str | None:
    """Compare the confidence of both models; None if it is unknown."""
    found = report.confidence
    if found.shift is None or found.served_mean is None or found.candidate_mean is None:
        return None
    return (
        f"Mean confidence is {percent(found.candidate_mean)} against {percent(found.served_mean)}: "
        f"{points(found.shift)} text by text."
    )


def latency(report: shadow_report.ShadowReport) -> str | None:
    """Compare the time of both models; None if it is unknown."""
    found = report.latency
    if found.ratio is None or found.served_mean_ms is None or found.candidate_mean_ms is None:
        return None
    return (
        f"The candidate takes {found.ratio:.2g} times as long for a text: "
        f"{found.candidate_mean_ms:.3g} ms against {found.served_mean_ms:.3g} ms on average."
    )


def missed(report: shadow_report.ShadowReport) -> Iterator[str]:
    """Describe the texts that were sampled and not compared, and how far they can bias the rest."""
    found = report.missed
    if not found.texts:
        if report.agreement is not None:
            yield "Every sampled text was compared, so no missing text biases the figures."
        return
    groups = {"shed to keep serving fast": found.shed, "failed in the candidate": found.failed}
    why = "; ".join(
        f"{sum(reasons.values()):,} {what} ({_listed(reasons)})"
        for what, reasons in groups.items()
        if reasons
    )
    were = "was" if found.texts == 1 else "were"
    yield f"{count(found.texts, 'sampled text')} ({percent(found.share)}) {were} not compared: {why}."
    if found.agreement_low is not None and found.agreement_high is not None:
        like, reweighted = "", found.agreement_reweighted
        if reweighted is not None:
            like = f"; if they are like compared texts of the same intent, {percent(reweighted)}"
        yield (
            f"Whatever they are, the agreement on all sampled texts is between {percent(found.agreement_low)} "
            f"and {percent(found.agreement_high)}{like}."
        )
    if found.intent_distance is not None:
        yield (
            f"Their served intents differ from those of the compared texts by {found.intent_distance:.2f} "
            "(0 is not at all, 1 is completely; a few texts differ by chance)."
        )


def _listed(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{reason.replace('_', ' ')} {texts:,}" for reason, texts in sorted(reasons.items()))


def labelled(report: shadow_report.ShadowReport) -> Iterator[str]:
    """Describe the result of the labels."""
    if report.verdict is not None and (found := report.verdict).wins + found.ties + found.losses:
        yield (
            f"Of {count(found.wins + found.ties + found.losses, 'labelled disagreement')} only the candidate was right "
            f"on {found.wins:,}, only the served model on {found.losses:,}, neither on {found.ties:,}."
        )
        yield (
            f"Where one of them was right, it was the candidate in {share(found.win_share)}; "
            f"this interval holds however often you look, with {1 - found.alpha:.0%} confidence."
        )
        yield (
            f"Exact McNemar test: {p_value(found.mcnemar_p)}, for readers who planned to look once, now; "
            "it means nothing to readers who look repeatedly."
        )
    if (one := report.accuracy) is not None and one.served is not None and one.candidate is not None:
        yield f"Accuracy on the compared texts, estimated: served {share(one.served)}, candidate {share(one.candidate)}."
    if one is not None and one.difference is not None:
        yield f"The candidate's accuracy minus the served model's: {points(one.difference)}."


def statements(found: shadow_report.Verdict) -> Iterator[tuple[str, shadow_report.Statement, str]]:
    """Return the three statements that a verdict can make, each with its evidence and its state in words."""
    for name, one in (
        ("better", found.better),
        ("worse", found.worse),
        (f"no worse (by {found.margin:.1%})", found.no_worse),
    ):
        if one.made_after is not None:
            standing = (
                f"made after {count(one.made_after, 'label')}" if one.made_after else "made without a label"
            )
        else:
            standing = (
                f"about {count(one.further, 'more label')}" if one.further is not None else "not in sight"
            )
        yield name, one, standing
