"""The charts of a report, each with its content in words for readers who cannot see it."""

import math
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from pointsman_producer.files.tables import printable
from pointsman_producer.report import charts, numbers, sentences
from pointsman_producer.report.charts import Bar
from pointsman_producer.report.plot import Line
from pointsman_shared.wire.shadow_report import Rate, ShadowReport

MAX_HEAT_INTENTS = 24
MAX_BAR_INTENTS = 60
REST = "(others)"
DECADES_MS = range(-3, 4)
# A wider axis has room for the powers of ten only.
FINE_DECADES = 4
# Evidence far above what is needed would flatten the rest of the curve.
SHOWN_LOG10_E = (-4.0, 8.0)


class Figure(NamedTuple):
    """A drawing, and its content in words."""

    svg: str
    alternative: str


def draw(report: ShadowReport) -> dict[str, Figure]:
    """Draw each chart that the report has values for."""
    makers = {
        "flows": _flows,
        "intents": _intents,
        "days": _days,
        "evidence": _evidence,
        "confidence": _confidence,
        "latency": _latency,
    }
    return {name: figure for name, make in makers.items() if (figure := make(report)) is not None}


def _flows(report: ShadowReport) -> Figure | None:
    """Draw how many texts went from each served intent to each intent of the candidate."""
    busiest = sorted(report.intents, key=lambda one: (-max(one.served, one.candidate), one.intent))
    if len(busiest) < 2:  # noqa: PLR2004  one intent has no other to flow to
        return None
    shown = [one.intent for one in busiest[:MAX_HEAT_INTENTS]]
    counts = Counter[tuple[str, str]]()
    for one in report.intents:
        if one.agreement is not None:
            name = one.intent if one.intent in shown else REST
            counts[name, name] += one.agreement.agreed
    for flow in report.flows:
        served, candidate = (name if name in shown else REST for name in (flow.served, flow.candidate))
        counts[served, candidate] += flow.texts
    svg = charts.heat_map(
        shown + [REST] * (len(busiest) > MAX_HEAT_INTENTS),
        counts,
        rows=f"{report.served} (served)",
        columns=f"{report.candidate} (candidate)",
    )
    top = "; ".join(f"{one.served} to {one.candidate} {one.texts}" for one in report.flows[:3]) or "none"
    return _figure(
        svg,
        f"A heat map of served intents by the candidate's intents. The largest moves: {top}. A table follows.",
    )


def _intents(report: ShadowReport) -> Figure | None:
    """Draw the agreement on each served intent, the lowest first."""
    rates = [(one.intent, one.agreement) for one in report.intents if one.agreement is not None]
    rates.sort(key=lambda one: (one[1].value, one[0]))
    if not rates:
        return None
    named = [
        _bar(f"{charts.shortened(name)}  ({charts.short_count(rate.texts)})", rate)
        for name, rate in rates[:MAX_BAR_INTENTS]
    ]
    title = "texts on which both gave this intent, of those served with it"
    lowest = f"Lowest: {rates[0][0]} with {numbers.percent(rates[0][1].value)}."
    words = f"Bars: the agreement on each served intent with its 95% interval. {lowest} A table follows."
    return _figure(charts.bars(named, title=title), words)


def _bar(name: str, rate: Rate) -> Bar:
    return Bar(name, rate.value, rate.low, rate.high)


def _days(report: ShadowReport) -> Figure | None:
    known = [(day.day, day.agreement) for day in report.days if day.agreement is not None]
    if len(known) < 2:  # noqa: PLR2004  a line takes two points
        return None
    rates = [_bar(day, rate) for day, rate in known]
    svg = charts.days([day for day, _ in known], rates, title="agreement")
    return _figure(svg, "A line: the agreement day by day, as in the table of days.")


def _evidence(report: ShadowReport) -> Figure | None:
    found = report.verdict
    if found is None or len(found.trajectory) < 2:  # noqa: PLR2004  a line takes two points
        return None
    low, high = SHOWN_LOG10_E

    def shown(course: Iterator[float]) -> list[float]:
        return [min(max(log_e / math.log(10), low), high) for log_e in course]

    lines = [
        Line("candidate is better", shown(point.better for point in found.trajectory), "candidate"),
        Line("candidate is no worse", shown(point.no_worse for point in found.trajectory), "ink", "7 4"),
        Line("candidate is worse", shown(point.worse for point in found.trajectory), "served", "9 3 2 3"),
    ]
    threshold = found.better.threshold_log_e
    svg = charts.evidence(
        [point.labels for point in found.trajectory],
        lines,
        needed=threshold / math.log(10),
        note=f"needed: {math.exp(threshold):.0f} (1 / {found.better.error_rate:.3g})",
    )
    standings = "; ".join(f"{name}: {standing}" for name, _, standing in sentences.statements(found))
    how = "Lines: the evidence for each statement after each label, on a logarithmic scale."
    return _figure(svg, f"{how} {standings}. A table is above.")


def _confidence(report: ShadowReport) -> Figure | None:
    found = report.confidence
    if not any(found.served_histogram) or not any(found.candidate_histogram):
        return None
    bins = len(found.served_histogram)
    svg = charts.histograms(
        [place / bins for place in range(bins + 1)],
        found.served_histogram,
        found.candidate_histogram,
        ticks=[(share / 5, f"{share / 5:.0%}") for share in range(6)],
        title="confidence",
    )
    return _figure(svg, sentences.confidence(report))


def _latency(report: ShadowReport) -> Figure | None:
    found = report.latency
    both = list(zip(found.served_histogram, found.candidate_histogram, strict=True))
    if not any(served for served, _ in both) or not any(candidate for _, candidate in both):
        return None
    # The outermost bins are open; they are drawn as wide as their neighbours.
    logs = [math.log10(edge) for edge in found.edges_ms]
    edges = [2 * logs[0] - logs[1], *logs, 2 * logs[-1] - logs[-2]]
    used = [place for place, counts in enumerate(both) if any(counts)]
    first, last = max(used[0] - 2, 0), min(used[-1] + 3, len(both))
    digits = (1, 2, 5) if edges[last] - edges[first] < FINE_DECADES else (1,)
    ticks = [digit * 10.0**decade for decade in DECADES_MS for digit in digits]
    svg = charts.histograms(
        edges[first : last + 1],
        found.served_histogram[first:last],
        found.candidate_histogram[first:last],
        ticks=[(math.log10(tick), f"{tick:g}") for tick in ticks],
        title="milliseconds for a text",
    )
    return _figure(svg, sentences.latency(report))


def _figure(svg: str, words: str | None) -> Figure:
    return Figure(svg, printable(words or ""))
