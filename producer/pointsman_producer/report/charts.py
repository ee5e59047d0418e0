"""The charts of a report, as SVG, each with its content in words for readers who cannot see it."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pointsman_producer.files.tables import printable
from pointsman_producer.report import numbers, sentences
from pointsman_producer.report.plot import CHAR_WIDTH, WIDTH, Line, Plot, Tick, stroke
from pointsman_shared.wire.shadow_report import ShadowReport

MAX_HEAT_INTENTS = 24
MAX_BAR_INTENTS = 60
MAX_NAME_CHARS = 28
REST = "(others)"
CELL = 31
BAR_HEIGHT = 25
SHARES: Sequence[Tick] = [(part / 5, f"{part / 5:.0%}") for part in range(6)]
FILLED = "fill:var(--served);fill-opacity:.45"
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
    agreed = {
        (one.intent, one.intent): one.agreement.agreed for one in report.intents if one.agreement is not None
    }
    moved = {(flow.served, flow.candidate): flow.texts for flow in report.flows}
    counts = Counter[tuple[str, str]]()
    for pair, texts in (*agreed.items(), *moved.items()):
        row, column = (name if name in shown else REST for name in pair)
        counts[row, column] += texts
    names = shown + [REST] * (len(busiest) > MAX_HEAT_INTENTS)
    top = "; ".join(f"{one.served} to {one.candidate} {one.texts}" for one in report.flows[:3]) or "none"
    return _figure(
        heat_map(names, counts, rows=f"{report.served} (served)", columns=f"{report.candidate} (candidate)"),
        f"A heat map of served intents by the candidate's intents. The largest moves: {top}. A table follows.",
    )


def heat_map(names: Sequence[str], counts: Mapping[tuple[str, str], int], *, rows: str, columns: str) -> str:
    """Draw counts of (row, column); the colour of a cell shows its share of the row."""
    shown = [numbers.shortened(name, MAX_NAME_CHARS) for name in names]
    longest = CHAR_WIDTH * max(map(len, shown))
    side, slope = CELL * len(names), 0.72 * longest
    margins = (slope + 34, max(slope, 20), 8, longest + 34)
    size = (margins[3] + side + margins[1], margins[0] + side + margins[2])
    plot = Plot((0, len(names)), (len(names), 0), size=size, margins=margins)
    places = {name: place for place, name in enumerate(names)}
    totals = {name: sum(count for (row, _), count in counts.items() if row == name) for name in names}
    for (row, column), count in counts.items():
        if not count or row not in places or column not in places:
            continue
        # The square root makes small shares visible, which is where the models differ.
        opacity = 0.08 + 0.72 * math.sqrt(count / totals[row])
        style = f"fill:var(--{'served' if row == column else 'candidate'});fill-opacity:{opacity:.2f}"
        x, y = plot.x(places[column]), plot.y(places[row])
        plot.add("rect", style, x=x, y=y, width=CELL, height=CELL)
        plot.text(x + CELL / 2, y + CELL / 2 + 4, short_count(count))
    for place, name in enumerate(shown):
        middle = CELL * (place + 0.5)
        plot.text(plot.left - 8, plot.top + middle + 4, name, anchor="end")
        plot.text(plot.left + middle + 4, plot.top - 8, name, anchor="start", turn=-45)
    for edge in range(len(names) + 1):
        plot.line((plot.left, plot.top + CELL * edge), (plot.right, plot.top + CELL * edge))
        plot.line((plot.left + CELL * edge, plot.top), (plot.left + CELL * edge, plot.bottom))
    plot.text(14, (plot.top + plot.bottom) / 2, rows, color="muted", turn=-90)
    plot.text(plot.left, 14, columns, color="muted", anchor="start")
    return plot.svg()


def _intents(report: ShadowReport) -> Figure | None:
    """Draw the agreement on each served intent with its interval, the lowest first."""
    rates = [(one.intent, one.agreement) for one in report.intents if one.agreement is not None]
    rates.sort(key=lambda one: (one[1].value, one[0]))
    if not rates:
        return None
    shown = [
        (f"{numbers.shortened(name, MAX_NAME_CHARS)}  ({short_count(rate.texts)})", rate)
        for name, rate in rates[:MAX_BAR_INTENTS]
    ]
    left = CHAR_WIDTH * max(len(name) for name, _ in shown) + 16
    height = BAR_HEIGHT * len(shown) + 52
    plot = Plot((0, 1), (len(shown), 0), size=(WIDTH, height), margins=(6, 26, 46, left))
    plot.x_axis(SHARES, "texts on which both gave this intent, of those served with it", grid=True)
    for place, (name, rate) in enumerate(shown):
        top, middle = plot.y(place + 0.2), plot.y(place + 0.5)
        width = plot.x(rate.value) - plot.left
        plot.add("rect", FILLED, x=plot.left, y=top, width=width, height=0.6 * BAR_HEIGHT)
        plot.line((plot.x(rate.low), middle), (plot.x(rate.high), middle), "ink", 1.3)
        for end in (rate.low, rate.high):
            plot.line((plot.x(end), middle - 4), (plot.x(end), middle + 4), "ink", 1.3)
        plot.text(plot.left - 8, middle + 4, name, anchor="end")
    lowest = f"Lowest: {rates[0][0]} with {numbers.percent(rates[0][1].value)}."
    words = f"Bars: the agreement on each served intent with its 95% interval. {lowest} A table follows."
    return _figure(plot.svg(), words)


def _days(report: ShadowReport) -> Figure | None:
    """Draw the agreement of each day as a line with a band for the intervals."""
    known = [(day.day, day.agreement) for day in report.days if day.agreement is not None]
    if len(known) < 2:  # noqa: PLR2004  a line takes two points
        return None
    rates = [rate for _, rate in known]
    low, high = min(rate.low for rate in rates), max(rate.high for rate in rates)
    plot = Plot((0, len(rates) - 1), (low, high), size=(WIDTH, 240), margins=(14, 44, 46, 66))
    steps = [low + (high - low) * part / 4 for part in range(5)]
    plot.y_axis([(step, f"{step:.1%}") for step in steps], "agreement")
    every = math.ceil(len(known) / 9)
    plot.x_axis([(place, known[place][0]) for place in range(0, len(known), every)])
    band = [*enumerate(rate.low for rate in rates)]
    band += reversed([*enumerate(rate.high for rate in rates)])
    plot.path(band, "fill:var(--served);fill-opacity:.2;stroke:none")
    plot.path([*enumerate(rate.value for rate in rates)], stroke("served"))
    for place, rate in enumerate(rates):
        plot.add("circle", "fill:var(--served)", cx=plot.x(place), cy=plot.y(rate.value), r=3.5)
    return _figure(plot.svg(), "A line: the agreement day by day, as in the table of days.")


def _evidence(report: ShadowReport) -> Figure | None:
    """Draw the evidence, as powers of ten, after each number of labels, and the line that it has to reach."""
    found = report.verdict
    if found is None or len(found.trajectory) < 2:  # noqa: PLR2004  a line takes two points
        return None
    threshold = found.better.threshold_log_e
    needed, course = threshold / math.log(10), found.trajectory
    lines = [
        Line("candidate is better", [_shown_log10(point.better) for point in course], "candidate"),
        Line("candidate is no worse", [_shown_log10(point.no_worse) for point in course], "ink", "7 4"),
        Line("candidate is worse", [_shown_log10(point.worse) for point in course], "served", "9 3 2 3"),
    ]
    labels = [point.labels for point in course]
    low = math.floor(min(min(line.heights) for line in lines))
    high = max(needed, *(max(line.heights) for line in lines)) + 0.5
    plot = Plot((0, labels[-1]), (low, high), size=(WIDTH, 320), margins=(30, 18, 46, 102))
    step = max(1, math.ceil((high - low) / 7))
    powers = range(low, math.floor(high) + 1, step)
    ticks = [(power, f"{10**power:,.0f}" if power >= 0 else f"1/{10**-power:,.0f}") for power in powers]
    plot.y_axis(ticks, "evidence (e-value)")
    plot.x_axis([(tick, f"{tick:,.0f}") for tick in _round_steps(labels[-1])], "labelled disagreements")
    plot.line((plot.left, plot.y(needed)), (plot.right, plot.y(needed)), "muted", 1.4)
    note = f"needed: {math.exp(threshold):.0f} (1 / {found.better.error_rate:.3g})"
    plot.text(plot.right, plot.y(needed) - 5, note, anchor="end", color="muted")
    for line in lines:
        plot.path(list(zip(labels, line.heights, strict=True)), stroke(line.color, line.dash))
    plot.legend(lines)
    standings = "; ".join(f"{name}: {standing}" for name, _, standing in sentences.statements(found))
    how = "Lines: the evidence for each statement after each label, on a logarithmic scale."
    return _figure(plot.svg(), f"{how} {standings}. A table is above.")


def _shown_log10(log_e: float) -> float:
    low, high = SHOWN_LOG10_E
    return min(max(log_e / math.log(10), low), high)


def _confidence(report: ShadowReport) -> Figure | None:
    found = report.confidence
    both = found.served_histogram, found.candidate_histogram
    if not all(map(any, both)):
        return None
    bins = len(found.served_histogram)
    edges = [place / bins for place in range(bins + 1)]
    return _figure(histograms(edges, *both, ticks=SHARES, title="confidence"), sentences.confidence(report))


def _latency(report: ShadowReport) -> Figure | None:
    found = report.latency
    both = found.served_histogram, found.candidate_histogram
    if not all(map(any, both)):
        return None
    # The outermost bins are open; they are drawn as wide as their neighbours.
    logs = [math.log10(edge) for edge in found.edges_ms]
    edges = [2 * logs[0] - logs[1], *logs, 2 * logs[-1] - logs[-2]]
    used = [place for place, counts in enumerate(zip(*both, strict=True)) if any(counts)]
    first, last = max(used[0] - 2, 0), min(used[-1] + 3, len(found.served_histogram))
    digits = (1, 2, 5) if edges[last] - edges[first] < FINE_DECADES else (1,)
    ticks = [digit * 10.0**decade for decade in DECADES_MS for digit in digits]
    svg = histograms(
        edges[first : last + 1],
        *(counts[first:last] for counts in both),
        ticks=[(math.log10(tick), f"{tick:g}") for tick in ticks],
        title="milliseconds for a text",
    )
    return _figure(svg, sentences.latency(report))


def histograms(
    edges: Sequence[float],
    served: Sequence[int],
    candidate: Sequence[int],
    *,
    ticks: Sequence[Tick],
    title: str,
) -> str:
    """Draw two histograms over the same bins, as shares of their texts: one filled, one as a line."""
    heights = [[count / sum(counts) for count in counts] for counts in (served, candidate)]
    high = max(map(max, heights))
    plot = Plot((edges[0], edges[-1]), (0, high), size=(WIDTH, 260), margins=(30, 26, 46, 66))
    plot.y_axis([(tick, f"{tick:.0%}") for tick in _round_steps(high)], "share of the texts")
    plot.x_axis([tick for tick in ticks if edges[0] <= tick[0] <= edges[-1]], title)
    for shares, style in zip(heights, (FILLED, stroke("candidate")), strict=True):
        outline = [(edges[0], 0.0)]
        for left, right, share in zip(edges, edges[1:], shares, strict=False):
            outline += [(left, share), (right, share)]
        plot.path([*outline, (edges[-1], 0.0)], style)
    plot.legend([Line("served", (), "served"), Line("candidate", (), "candidate")])
    return plot.svg()


def short_count(count: int) -> str:
    """Write a count in at most four characters."""
    for size, sign in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.2g}{sign}" if count < 10 * size else f"{count / size:.0f}{sign}"
    return str(count)


def _round_steps(high: float) -> list[float]:
    """Return about six round numbers from 0 to `high`."""
    rough = high / 6
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= rough)
    return [place * step for place in range(math.floor(high / step) + 1)]


def _figure(svg: str, words: str | None) -> Figure:
    return Figure(svg, printable(words or ""))
