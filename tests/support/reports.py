"""Reports on pairs of models to show: computed by the real statistics from made-up answers."""

import random
from collections.abc import Sequence

from pointsman_models.comparison import counts
from pointsman_models.comparison import labels as labelling
from pointsman_models.comparison import report as comparison_report
from pointsman_shared.wire import shadow_report

INTENTS = ("opening_hours", "payment_methods", "cancel_order", "greeting", "goodbye", "refund_status")
HOSTILE = "</script><script>alert('x')</script><img src=x onerror=alert(1)> $\\frac{ [bold]markup[/] \x1b[31m\x07 日本 \u202e"


def labelled_file(
    served: counts.Answered, candidate: counts.Answered, labels: Sequence[str]
) -> list[labelling.LabelledPair]:
    """Pair the answers to texts that were all labelled, as an offline comparison does."""
    columns = zip(served.intent, candidate.intent, labels, strict=True)
    return labelling.shuffled(
        [
            labelling.LabelledPair(served=before, candidate=after, label=label, probability=1.0)
            for before, after, label in columns
        ]
    )


def observed(
    texts: int = 4_000, *, intents: Sequence[str] = INTENTS, days: int = 5, agreement: float = 0.9
) -> counts.Comparison:
    """Compare two models that differ on some texts, in messages of a hundred."""
    chance = random.Random(1)
    found = counts.Comparison()
    for message in range(texts // 100):
        served = chance.choices(intents, weights=range(len(intents), 0, -1), k=100)
        candidate = [one if chance.random() < agreement else chance.choice(intents) for one in served]
        found += counts.observe(
            counts.Answered(
                intent=served,
                confidence=[chance.betavariate(8, 2) for _ in served],
                inference_ms=100 * chance.lognormvariate(-3, 0.5),
            ),
            counts.Answered(
                intent=candidate,
                confidence=[chance.betavariate(9, 1.5) for _ in served],
                inference_ms=100 * chance.lognormvariate(-2.3, 0.4),
            ),
            day=f"2026-11-{17 + message % days}",
            attributes={"plan": [chance.choice(["free", "pro"]) for _ in served]},
        )
    return found


def labels(count: int = 300, *, wins: float = 0.6, losses: float = 0.3) -> list[labelling.LabelledPair]:
    """Label disagreements, and a tenth as many agreements."""
    chance = random.Random(2)
    right = chance.choices("bac", weights=(wins, losses, 1 - wins - losses), k=count)
    pairs = [
        labelling.LabelledPair(
            served="a", candidate="b", label=label, probability=0.5, labelled_at=float(place)
        )
        for place, label in enumerate(right)
    ]
    agreed = labelling.LabelledPair(served="a", candidate="a", label="a", probability=0.01)
    return [*pairs, *[agreed] * (count // 10)]


def disagreements(
    texts: Sequence[str | None] = ("When do you close on sunday?", None),
) -> list[shadow_report.Disagreement]:
    """Give a sample of disagreements of these texts."""
    return [
        shadow_report.Disagreement(
            job_id=f"m:{place}",
            text=text,
            served="opening_hours",
            candidate="cancel_order",
            served_confidence=0.5,
            candidate_confidence=0.75,
            label=None if place else "opening_hours",
        )
        for place, text in enumerate(texts)
    ]


def unlabelled() -> shadow_report.ShadowReport:
    """Give a report without a label, and with texts that were missed."""
    missed = counts.miss(["greeting"] * 90, kind="shed", reason="queue_age", day="2026-11-18")
    failed = counts.miss(["goodbye"] * 3, kind="failed", reason="raised", day="2026-11-19")
    return comparison_report.build(
        observed() + missed + failed, served="pro@7", candidate="base@4", disagreements=disagreements()
    )


def labelled(
    count: int = 300, *, wins: float = 0.6, losses: float = 0.3, texts: int = 4_000
) -> shadow_report.ShadowReport:
    """Give a report with labels."""
    return comparison_report.build(
        observed(texts),
        served="pro@7",
        candidate="pro@8",
        pairs=labels(count, wins=wins, losses=losses),
        disagreements=disagreements(),
    )


def empty() -> shadow_report.ShadowReport:
    """Give a report of no texts."""
    return comparison_report.build(counts.Comparison(), served="pro@7", candidate="base@4")


def hostile() -> shadow_report.ShadowReport:
    """Give a report in which everything that comes from outside is meant to break the page or the terminal."""
    return comparison_report.build(
        observed(intents=(HOSTILE, *INTENTS))
        + counts.miss([HOSTILE], kind="failed", reason=HOSTILE, day="2026-11-18"),
        served="pro@7",
        candidate="base@4",
        pairs=labels(),
        disagreements=disagreements([HOSTILE, HOSTILE * 30]),
    )
