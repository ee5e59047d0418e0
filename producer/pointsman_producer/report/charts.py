"""The report's charts: SVG that matplotlib draws and the page's style sheet colours, so that they follow dark mode.

matplotlib knows no CSS, so everything is drawn in marker colours that `_themed` replaces by the page's variables.
"""

import io
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, PercentFormatter

from pointsman_shared.wire import shadow_report

WIDTH_IN = 8.6
SERVED, CANDIDATE, INK, MUTED, LINE = "#010101", "#020202", "#030303", "#040404", "#050505"
VARIABLES = {SERVED: "served", CANDIDATE: "candidate", INK: "ink", MUTED: "muted", LINE: "line"}
STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.right": False,
    "axes.spines.top": False,
    # Its metrics ship with matplotlib; the page's own font is no wider.
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",
    "text.color": INK,
    # An intent may be called $x$.
    "text.parse_math": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}
MAX_HEAT_INTENTS = 24
MAX_BAR_INTENTS = 60
MAX_NAME_CHARS = 28
REST = "(others)"
NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}
LATENCY_TICKS_MS = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
# Evidence far beyond what is needed would flatten the rest of the curve.
SHOWN_LOG10_E = (-4.0, 8.0)

SERVED_BAR: dict[str, Any] = {"facecolor": SERVED, "alpha": 0.45, "edgecolor": "none"}
CANDIDATE_STEP: dict[str, Any] = {"color": CANDIDATE, "linewidth": 2.0}


def flows(report: shadow_report.ShadowReport) -> str | None:
    """Draw how many texts went from each served intent to each intent of the candidate, by the row's share."""
    names, counts = _heat(report)
    if len(names) < 2:  # noqa: PLR2004  one intent has nowhere to flow to
        return None
    side = 1.7 + 0.33 * len(names)
    return _svg(
        "flows", lambda axes: _draw_heat(axes, names, counts, report), size=(min(side + 1.2, WIDTH_IN), side)
    )


def _heat(report: shadow_report.ShadowReport) -> tuple[list[str], dict[tuple[str, str], int]]:
    """Give the intents to show, the busiest first, and the counts, with the rarer intents put together."""
    busiest = sorted(report.intents, key=lambda one: (-max(one.served, one.candidate), one.intent))
    shown = [one.intent for one in busiest[:MAX_HEAT_INTENTS]]
    kept = set(shown)
    counts: dict[tuple[str, str], int] = {}
    for served, candidate, texts in _pairs(report):
        pair = (served if served in kept else REST, candidate if candidate in kept else REST)
        counts[pair] = counts.get(pair, 0) + texts
    return shown + ([REST] if len(busiest) > MAX_HEAT_INTENTS else []), counts


def _pairs(report: shadow_report.ShadowReport) -> Sequence[tuple[str, str, int]]:
    agreed = [(one.intent, one.intent, one.agreement.agreed) for one in report.intents if one.agreement]
    return [*agreed, *((flow.served, flow.candidate, flow.texts) for flow in report.flows)]


def _draw_heat(
    axes: Axes,
    names: Sequence[str],
    counts: Mapping[tuple[str, str], int],
    report: shadow_report.ShadowReport,
) -> None:
    totals = {name: sum(texts for (served, _), texts in counts.items() if served == name) for name in names}
    for (served, candidate), texts in counts.items():
        if texts:
            _draw_cell(axes, names.index(candidate), names.index(served), texts, texts / totals[served])
    axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5), aspect="equal")
    labels = [shortened(name) for name in names]
    axes.set_xticks(range(len(names)), labels, rotation=45, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), labels)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.tick_params(length=0, labelcolor=INK)
    axes.set_xlabel(f"{report.candidate} (candidate)")
    axes.set_ylabel(f"{report.served} (served)")
    axes.spines[:].set_visible(False)
    for edge in range(len(names) + 1):
        axes.axhline(edge - 0.5, color=LINE, linewidth=0.5)
        axes.axvline(edge - 0.5, color=LINE, linewidth=0.5)


def _draw_cell(axes: Axes, column: int, row: int, texts: int, share: float) -> None:
    # The square root, for what matters is off the diagonal, where shares are small.
    alpha = 0.08 + 0.72 * math.sqrt(share)
    color = SERVED if row == column else CANDIDATE
    corner = (column - 0.5, row - 0.5)
    axes.add_patch(Rectangle(corner, 1, 1, facecolor=color, alpha=alpha, edgecolor="none"))
    axes.text(column, row, _short_count(texts), ha="center", va="center", fontsize=7)


def _short_count(texts: int) -> str:
    for size, sign in ((1_000_000, "M"), (1_000, "k")):
        if texts >= size:
            return f"{texts / size:.2g}{sign}" if texts < 10 * size else f"{texts / size:.0f}{sign}"
    return str(texts)


def intents(report: shadow_report.ShadowReport) -> str | None:
    """Draw the agreement on each served intent with its interval, the lowest first."""
    rates = [(one.intent, one.agreement) for one in report.intents if one.agreement is not None]
    if not rates:
        return None
    lowest = sorted(rates, key=lambda one: (one[1].value, one[0]))[:MAX_BAR_INTENTS]
    return _svg("intents", lambda axes: _draw_rates(axes, lowest), size=(WIDTH_IN, 0.9 + 0.27 * len(lowest)))


def _draw_rates(axes: Axes, rates: Sequence[tuple[str, shadow_report.Rate]]) -> None:
    places = range(len(rates))
    values = [rate.value for _, rate in rates]
    spread = [[rate.value - rate.low for _, rate in rates], [rate.high - rate.value for _, rate in rates]]
    axes.barh(places, values, height=0.62, **SERVED_BAR)
    axes.errorbar(values, places, xerr=spread, fmt="none", ecolor=INK, elinewidth=1.1, capsize=2.5)
    axes.set_yticks(places, [f"{shortened(name)}  ({_short_count(rate.texts)})" for name, rate in rates])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set(
        xlim=(0, 1.0),
        ylim=(len(rates) - 0.4, -0.6),
        xlabel="texts on which both gave this intent, of those served with it",
    )
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)


def evidence(report: shadow_report.ShadowReport) -> str | None:
    """Draw the evidence for each statement, label by label, with what each needs."""
    if report.verdict is None or len(report.verdict.trajectory) < 2:  # noqa: PLR2004  a line takes two points
        return None
    verdict = report.verdict
    return _svg("evidence", lambda axes: _draw_evidence(axes, verdict), size=(WIDTH_IN, 3.3))


def _draw_evidence(axes: Axes, verdict: shadow_report.Verdict) -> None:
    labels = [point.labels for point in verdict.trajectory]
    courses = (
        ("better", [point.better for point in verdict.trajectory], CANDIDATE, "-"),
        ("no worse", [point.no_worse for point in verdict.trajectory], INK, "--"),
        ("worse", [point.worse for point in verdict.trajectory], SERVED, "-."),
    )
    low, high = SHOWN_LOG10_E
    for name, course, color, style in courses:
        heights = [min(max(log_e / math.log(10), low), high) for log_e in course]
        axes.plot(labels, heights, color=color, linestyle=style, linewidth=2.0, label=f"candidate is {name}")
    needed = verdict.better.threshold_log_e / math.log(10)
    axes.axhline(needed, color=MUTED, linewidth=1.0)
    text = f"needed: {math.exp(verdict.better.threshold_log_e):.0f} (1 / {verdict.better.error_rate:.3g})"
    axes.annotate(text, (labels[-1], needed), (0, 3), textcoords="offset points", ha="right", color=MUTED)
    top = max(axes.get_ylim()[1], needed + 0.35)
    axes.set(
        xlim=(0, labels[-1]),
        ylim=(axes.get_ylim()[0], top),
        xlabel="labelled disagreements",
        ylabel="evidence (e-value)",
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda power, _: _power_of_ten(power)))
    axes.grid(axis="y")
    axes.legend(loc="upper left")


def _power_of_ten(power: float) -> str:
    return f"{10**power:,.0f}" if power >= 0 else f"1/{10**-power:,.0f}"


def latencies(report: shadow_report.ShadowReport) -> str | None:
    """Draw how long each model took for a text."""
    found = report.latency
    if not any(found.served_histogram) or not any(found.candidate_histogram):
        return None
    return _svg("latency", lambda axes: _draw_latencies(axes, found), size=(WIDTH_IN, 2.8))


def _draw_latencies(axes: Axes, found: shadow_report.Latency) -> None:
    # The outermost bins are open; they are drawn as wide as their neighbours.
    logs = [math.log10(edge) for edge in found.edges_ms]
    edges = [2 * logs[0] - logs[1], *logs, 2 * logs[-1] - logs[-2]]
    _draw_histograms(axes, edges, found.served_histogram, found.candidate_histogram)
    used = [
        place
        for place, counts in enumerate(zip(found.served_histogram, found.candidate_histogram, strict=True))
        if any(counts)
    ]
    axes.set(
        xlim=(edges[max(used[0] - 2, 0)], edges[min(used[-1] + 3, len(edges) - 1)]),
        xlabel="milliseconds for a text",
    )
    axes.xaxis.set_major_locator(FixedLocator([math.log10(tick) for tick in LATENCY_TICKS_MS]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda power, _: f"{10**power:g}"))
    axes.xaxis.set_minor_locator(
        FixedLocator([math.log10(tick * step) for tick in LATENCY_TICKS_MS for step in (2, 5)])
    )
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda power, _: f"{10**power:.3g}"))
    axes.tick_params(axis="x", which="minor", labelsize=7, labelcolor=MUTED)


def confidences(report: shadow_report.ShadowReport) -> str | None:
    """Draw how sure each model was."""
    found = report.confidence
    if not any(found.served_histogram) or not any(found.candidate_histogram):
        return None
    return _svg("confidence", lambda axes: _draw_confidences(axes, found), size=(WIDTH_IN, 2.6))


def _draw_confidences(axes: Axes, found: shadow_report.Confidence) -> None:
    bins = len(found.served_histogram)
    _draw_histograms(
        axes, [place / bins for place in range(bins + 1)], found.served_histogram, found.candidate_histogram
    )
    axes.set(xlim=(0, 1), xlabel="confidence")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))


def _draw_histograms(
    axes: Axes, edges: Sequence[float], served: Sequence[int], candidate: Sequence[int]
) -> None:
    axes.stairs(_shares(served), edges, fill=True, label="served", **SERVED_BAR)
    axes.stairs(_shares(candidate), edges, label="candidate", **CANDIDATE_STEP)
    axes.set_ylabel("share of the texts")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(axis="y")
    axes.legend(loc="upper center")


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts)
    return [count / total for count in counts]


def days(report: shadow_report.ShadowReport) -> str | None:
    """Draw the agreement day by day, where there is more than one."""
    known = [(day.day, day.agreement) for day in report.days if day.agreement is not None]
    if len(known) < 2:  # noqa: PLR2004  a course takes two days
        return None
    return _svg("days", lambda axes: _draw_days(axes, known), size=(WIDTH_IN, 2.4))


def _draw_days(axes: Axes, known: Sequence[tuple[str, shadow_report.Rate]]) -> None:
    places = range(len(known))
    axes.fill_between(
        places,
        [rate.low for _, rate in known],
        [rate.high for _, rate in known],
        facecolor=SERVED,
        alpha=0.2,
        edgecolor="none",
    )
    axes.plot(
        places, [rate.value for _, rate in known], color=SERVED, linewidth=2.0, marker="o", markersize=3.5
    )
    step = max(1, math.ceil(len(known) / 10))
    axes.set_xticks(places[::step], [day for day, _ in known[::step]], fontsize=8)
    axes.set_ylabel("agreement")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    axes.grid(axis="y")


def quantile(counts: Sequence[int], edges: Sequence[float], share: float) -> float | None:
    """Read a quantile off a histogram, as the upper limit of its bin; None where that is open or nothing is counted."""
    target = share * sum(counts)
    place = next((place for place, below in enumerate(accumulate(counts)) if below and below >= target), None)
    return edges[place] if place is not None and place < len(edges) else None


def shortened(name: str) -> str:
    """Cut an intent's name that is too long for an axis, and take out what XML may not hold."""
    readable = "".join(char if char.isprintable() else " " for char in name)
    return readable if len(readable) <= MAX_NAME_CHARS else readable[: MAX_NAME_CHARS - 1] + "…"


def _svg(name: str, draw: Callable[[Axes], None], *, size: tuple[float, float]) -> str:
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # The page's font shows what matplotlib's has no glyph for.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata=NO_METADATA)
    # All charts at one scale, so that their letters are of one size.
    share = f'<svg style="max-width: {size[0] / WIDTH_IN:.1%}"'
    return _themed(written.getvalue()).replace("<svg", share, 1)


def _themed(svg: str) -> str:
    """Make a drawing part of the page: without what a file of its own needs, in the page's colours and font."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    # Only what is referred to needs an id, and two drawings may not share one.
    svg = re.sub(r'<g id="[^"<>]*">', "<g>", svg)
    svg = re.sub(
        r"""<svg [^>]*?viewBox="([^"]*)"[^>]*>""", r'<svg viewBox="\1" aria-hidden="true">', svg, count=1
    )
    svg = svg.replace("xlink:href=", "href=").replace("font-family: 'DejaVu Sans'; ", "")
    for marker, variable in VARIABLES.items():
        svg = svg.replace(f": {marker}", f": var(--{variable})")
    return svg
