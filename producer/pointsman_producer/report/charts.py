"""Charts as SVG text, from plain values. Knows no report.

The page defines the colours as the variables `--served`, `--candidate`, `--ink`, `--muted` and `--line`, so the charts
follow its dark mode and its print style.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pointsman_producer.report.plot import CHAR_WIDTH, WIDTH, Line, Plot, Tick, stroke

MAX_NAME_CHARS = 28
CELL = 31
BAR_HEIGHT = 25


class Bar(NamedTuple):
    """A share of 1 with its interval."""

    name: str
    value: float
    low: float
    high: float


def heat_map(names: Sequence[str], counts: Mapping[tuple[str, str], int], *, rows: str, columns: str) -> str:
    """Draw counts of (row, column); the colour of a cell shows its share of the row.

    The rows and the columns have the same names; `rows` and `columns` are their titles.
    """
    shown = [shortened(name) for name in names]
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


def bars(rows: Sequence[Bar], *, title: str) -> str:
    """Draw shares as horizontal bars with their intervals."""
    left = CHAR_WIDTH * max(len(row.name) for row in rows) + 16
    height = BAR_HEIGHT * len(rows) + 52
    plot = Plot((0, 1), (len(rows), 0), size=(WIDTH, height), margins=(6, 26, 46, left))
    plot.x_axis([(tick / 5, f"{tick / 5:.0%}") for tick in range(6)], title, grid=True)
    for place, row in enumerate(rows):
        top = plot.y(place + 0.2)
        middle = plot.y(place + 0.5)
        width = plot.x(row.value) - plot.left
        plot.add("rect", _fill(), x=plot.left, y=top, width=width, height=0.6 * BAR_HEIGHT)
        plot.line((plot.x(row.low), middle), (plot.x(row.high), middle), "ink", 1.3)
        for end in (row.low, row.high):
            plot.line((plot.x(end), middle - 4), (plot.x(end), middle + 4), "ink", 1.3)
        plot.text(plot.left - 8, middle + 4, row.name, anchor="end")
    return plot.svg()


def evidence(labels: Sequence[int], lines: Sequence[Line], *, needed: float, note: str) -> str:
    """Draw evidence, as powers of ten, after each number of labels, and the line that it has to reach."""
    low = math.floor(min(min(line.heights) for line in lines))
    high = max(needed, *(max(line.heights) for line in lines)) + 0.5
    plot = Plot((0, labels[-1]), (low, high), size=(WIDTH, 320), margins=(30, 18, 46, 102))
    step = max(1, math.ceil((high - low) / 7))
    powers = {
        power: f"{10**power:,.0f}" if power >= 0 else f"1/{10**-power:,.0f}"
        for power in range(low, math.floor(high) + 1, step)
    }
    plot.y_axis(list(powers.items()), "evidence (e-value)")
    plot.x_axis([(tick, f"{tick:,.0f}") for tick in _round_steps(labels[-1])], "labelled disagreements")
    plot.line((plot.left, plot.y(needed)), (plot.right, plot.y(needed)), "muted", 1.4)
    plot.text(plot.right, plot.y(needed) - 5, note, anchor="end", color="muted")
    for line in lines:
        plot.path(list(zip(labels, line.heights, strict=True)), stroke(line.color, line.dash))
    plot.legend(lines)
    return plot.svg()


def days(names: Sequence[str], rates: Sequence[Bar], *, title: str) -> str:
    """Draw one share per day as a line with a band for the intervals."""
    low, high = min(rate.low for rate in rates), max(rate.high for rate in rates)
    plot = Plot((0, len(rates) - 1), (low, high), size=(WIDTH, 240), margins=(14, 44, 46, 66))
    steps = [low + (high - low) * part / 4 for part in range(5)]
    plot.y_axis([(step, f"{step:.1%}") for step in steps], title)
    every = math.ceil(len(names) / 9)
    plot.x_axis([(place, names[place]) for place in range(0, len(names), every)])
    band = [*enumerate(rate.low for rate in rates)]
    band += reversed([*enumerate(rate.high for rate in rates)])
    plot.path(band, "fill:var(--served);fill-opacity:.2;stroke:none")
    plot.path([*enumerate(rate.value for rate in rates)], stroke("served"))
    for place, rate in enumerate(rates):
        plot.add("circle", "fill:var(--served)", cx=plot.x(place), cy=plot.y(rate.value), r=3.5)
    return plot.svg()


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
    visible = [tick for tick in ticks if edges[0] <= tick[0] <= edges[-1]]
    plot.x_axis(visible, title)
    for shares, style in zip(heights, (_fill(), stroke("candidate")), strict=True):
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


def shortened(name: str) -> str:
    """Cut a name that is too long for an axis."""
    return name if len(name) <= MAX_NAME_CHARS else name[: MAX_NAME_CHARS - 1] + "…"


def _fill() -> str:
    return "fill:var(--served);fill-opacity:.45"


def _round_steps(high: float) -> list[float]:
    """Return about six round numbers from 0 to `high`."""
    rough = high / 6
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= rough)
    return [place * step for place in range(math.floor(high / step) + 1)]
