"""A drawing in SVG with linear axes. Knows no kind of chart.

The page defines the colours as the variables `--served`, `--candidate`, `--ink`, `--muted` and `--line`, so a drawing
follows its dark mode and its print style.
"""

from collections.abc import Sequence
from html import escape
from typing import Literal, NamedTuple

from pointsman_producer.files.tables import printable

WIDTH = 860
FONT_SIZE = 12
CHAR_WIDTH = 7.3

Color = Literal["served", "candidate", "ink", "muted", "line"]
Tick = tuple[float, str]


class Line(NamedTuple):
    """One curve; `dash` is SVG's pattern of dashes."""

    name: str
    heights: Sequence[float]
    color: Color
    dash: str = ""


class Plot:
    """A drawing with a plot area and linear axes; it collects SVG elements."""

    def __init__(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        size: tuple[float, float],
        margins: tuple[float, float, float, float],
    ) -> None:
        self.width, self.height = size
        self.top, right, bottom, self.left = margins
        self.right, self.bottom = self.width - right, self.height - bottom
        self._x, self._y = x, y
        self._parts: list[str] = []

    def x(self, value: float) -> float:
        """Return the place of a value from left to right."""
        low, high = self._x
        return self.left + (value - low) / ((high - low) or 1) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Return the place of a value from top to bottom."""
        low, high = self._y
        return self.bottom - (value - low) / ((high - low) or 1) * (self.bottom - self.top)

    def add(self, tag: str, style: str, **numbers: float | str) -> None:
        """Add an element."""
        attributes = "".join(f' {name}="{_number(value)}"' for name, value in numbers.items())
        self._parts.append(f'<{tag}{attributes} style="{style}"/>')

    def line(
        self, start: tuple[float, float], end: tuple[float, float], color: Color = "line", width: float = 1
    ) -> None:
        """Draw a line between two places."""
        (x1, y1), (x2, y2) = start, end
        self.add("line", f"stroke:var(--{color});stroke-width:{width}", x1=x1, y1=y1, x2=x2, y2=y2)

    def path(self, points: Sequence[tuple[float, float]], style: str) -> None:
        """Draw a line through points, which are values."""
        joined = " ".join(f"{_number(self.x(x))},{_number(self.y(y))}" for x, y in points)
        self.add("polyline", style, points=joined)

    def text(
        self, x: float, y: float, text: str, *, anchor: str = "middle", color: Color = "ink", turn: float = 0
    ) -> None:
        """Write a text at a place, turned by some degrees."""
        turned = f' transform="rotate({_number(turn)} {_number(x)} {_number(y)})"' if turn else ""
        self._parts.append(
            f'<text x="{_number(x)}" y="{_number(y)}" text-anchor="{anchor}"{turned} '
            f'style="fill:var(--{color})">{escape(printable(text))}</text>'
        )

    def x_axis(self, ticks: Sequence[Tick], title: str = "", *, grid: bool = False) -> None:
        """Draw the axis below the plot."""
        for value, label in ticks:
            x = self.x(value)
            self.line((x, self.top if grid else self.bottom), (x, self.bottom + 4))
            self.text(x, self.bottom + 18, label, color="muted")
        self.line((self.left, self.bottom), (self.right, self.bottom))
        self.text((self.left + self.right) / 2, self.height - 6, title, color="muted")

    def y_axis(self, ticks: Sequence[Tick], title: str = "") -> None:
        """Draw the axis on the left, with a grid."""
        for value, label in ticks:
            self.line((self.left, self.y(value)), (self.right, self.y(value)))
            self.text(self.left - 8, self.y(value) + 4, label, anchor="end", color="muted")
        self.text(14, (self.top + self.bottom) / 2, title, color="muted", turn=-90)

    def legend(self, lines: Sequence[Line]) -> None:
        """Name the curves above the plot."""
        x = self.left
        for line in lines:
            self.add("line", stroke(line.color, line.dash), x1=x, y1=12, x2=x + 24, y2=12)
            self.text(x + 30, 16, line.name, anchor="start")
            x += 54 + CHAR_WIDTH * len(line.name)

    def svg(self) -> str:
        """Return the drawing."""
        size = f"{_number(self.width)} {_number(self.height)}"
        # All charts have one scale, so that their letters have one size.
        style = f"max-width:{self.width / WIDTH:.1%};font-size:{FONT_SIZE}px"
        return f'<svg viewBox="0 0 {size}" aria-hidden="true" style="{style}">{"".join(self._parts)}</svg>'


def stroke(color: Color, dash: str = "") -> str:
    """Return the style of a curve."""
    dashes = f";stroke-dasharray:{dash}" if dash else ""
    return f"fill:none;stroke:var(--{color});stroke-width:2{dashes}"


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
