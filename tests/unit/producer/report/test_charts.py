"""The charts, read back from their SVG."""

from xml.etree import ElementTree

import pytest

from pointsman_models.comparison import report as comparison_report
from pointsman_producer.report import charts, page
from pointsman_shared.wire import shadow_report
from tests.support import reports


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)  # noqa: S314  our own output


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in parsed(svg).iter("text")]


def widths(svg: str) -> list[float]:
    return [float(element.attrib["width"]) for element in parsed(svg).iter("rect")]


@pytest.mark.parametrize("report", [reports.labelled(), reports.unlabelled(), reports.hostile()])
def test_every_chart_is_well_formed_and_takes_its_colours_from_the_page(
    report: shadow_report.ShadowReport,
) -> None:
    drawn = charts.draw(report)
    assert {"flows", "intents", "days", "confidence", "latency"} <= set(drawn)
    for figure in drawn.values():
        parsed(figure.svg)
        assert "var(--served)" in figure.svg
        assert "#" not in figure.svg.replace("&#", "")
        assert figure.alternative


@pytest.mark.parametrize("report", [reports.labelled(), reports.unlabelled()])
def test_no_chart_draws_outside_its_frame(report: shadow_report.ShadowReport) -> None:
    for figure in charts.draw(report).values():
        svg = parsed(figure.svg)
        width, height = map(float, svg.attrib["viewBox"].split()[2:])
        places = [
            (float(element.attrib[x]), float(element.attrib[y]))
            for element in svg.iter()
            for x, y in (("x", "y"), ("x1", "y1"), ("x2", "y2"), ("cx", "cy"))
            if x in element.attrib
        ]
        assert len(places) > 10
        assert [(x, y) for x, y in places if not (0 <= x <= width and 0 <= y <= height)] == []


def test_the_colour_of_a_cell_grows_with_its_share_of_the_row() -> None:
    counts = {("pay", "pay"): 75, ("pay", "bye"): 25, ("bye", "bye"): 9}
    svg = charts.heat_map(["pay", "bye"], counts, rows="r", columns="c")
    styles = [element.attrib["style"] for element in parsed(svg).iter("rect")]
    large, small, whole = (float(style.rpartition("fill-opacity:")[2]) for style in styles)
    assert 0 < small < large < whole < 1


def test_a_heat_map_names_its_rows_beside_them() -> None:
    svg = charts.heat_map(["pay", "bye"], {("pay", "pay"): 1, ("bye", "bye"): 2}, rows="r", columns="c")
    heights = [
        {element.text: float(element.attrib["y"]) for element in parsed(svg).iter("text") if chosen(element)}
        for chosen in (is_row_name, is_cell)
    ]
    assert heights[0]["pay"] == heights[1]["1"]
    assert heights[0]["bye"] == heights[1]["2"]


def is_row_name(element: ElementTree.Element) -> bool:
    return element.attrib["text-anchor"] == "end"


def is_cell(element: ElementTree.Element) -> bool:
    return (element.text or "").isdigit()


def test_the_whiskers_of_a_bar_stand_astride_its_interval() -> None:
    lines = [
        tuple(float(line.attrib[name]) for name in ("x1", "y1", "x2", "y2"))
        for line in parsed(charts.draw(reports.labelled())["intents"].svg).iter("line")
        if "--ink" in line.attrib["style"]
    ]
    for interval, low, high in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        middle = interval[1]
        for whisker, end in ((low, interval[0]), (high, interval[2])):
            assert (whisker[0], whisker[2]) == (end, end)
            assert (whisker[1] + whisker[3]) / 2 == pytest.approx(middle, abs=0.01)


def test_the_shares_of_intents_have_a_grid() -> None:
    svg = parsed(charts.draw(reports.labelled())["intents"].svg)
    upright = [line for line in svg.iter("line") if line.attrib["x1"] == line.attrib["x2"]]
    grid = [line for line in upright if "--line" in line.attrib["style"]]
    height = float(svg.attrib["viewBox"].split()[3])
    assert len(grid) == len(charts.SHARES)
    assert all(float(line.attrib["y2"]) - float(line.attrib["y1"]) > height / 2 for line in grid)


def test_evidence_is_drawn_on_powers_of_ten_and_cut_far_above_what_is_needed() -> None:
    shown = texts(charts.draw(reports.labelled(wins=0.97, losses=0.02))["evidence"].svg)
    powers = [text for text in shown if text.removeprefix("1/").replace(",", "").strip("0") == "1"]
    assert {"1/1,000", "10", "1,000"} <= set(powers)
    assert "1,000,000,000" not in powers
    assert {"candidate is better", "candidate is no worse", "candidate is worse"} <= set(shown)


def test_a_heat_map_shows_each_count_and_marks_the_diagonal() -> None:
    svg = charts.heat_map(["pay", "bye"], {("pay", "pay"): 1_500, ("pay", "bye"): 3}, rows="r", columns="c")
    assert {"1.5k", "3", "pay", "bye", "r", "c"} <= set(texts(svg))
    cells = [element.attrib["style"] for element in parsed(svg).iter("rect")]
    assert ["--served" in style for style in cells] == [True, False]


def test_a_bar_is_as_long_as_its_share() -> None:
    report = reports.labelled()
    shares = sorted(one.agreement.value for one in report.intents if one.agreement)
    longest = widths(charts.draw(report)["intents"].svg)
    assert longest == pytest.approx([longest[-1] * share / shares[-1] for share in shares], abs=0.02)


def test_histograms_are_drawn_as_shares_of_their_own_texts() -> None:
    svg = charts.histograms([0, 1, 2], [2, 2], [30, 10], ticks=[], title="t")
    served, candidate = (element.attrib["points"] for element in parsed(svg).iter("polyline"))
    heights = [[float(point.split(",")[1]) for point in points.split()] for points in (served, candidate)]
    floor = heights[0][0]
    assert [floor - height for height in heights[0][1:5]] == pytest.approx([124] * 4, abs=14)
    assert (floor - heights[1][1]) / (floor - heights[1][3]) == pytest.approx(3, abs=0.01)


def test_intents_beyond_the_busiest_are_drawn_together() -> None:
    names = tuple(f"intent_{place:02d}" for place in range(charts.MAX_HEAT_INTENTS + 6))
    report = comparison_report.build(reports.observed(intents=names), served="pro@7", candidate="pro@8")
    shown = texts(charts.draw(report)["flows"].svg)
    assert shown.count(charts.REST) == 2
    assert len([text for text in shown if text.startswith("intent_")]) == 2 * charts.MAX_HEAT_INTENTS


@pytest.mark.parametrize(
    ("count", "text"),
    [(7, "7"), (999, "999"), (1_000, "1k"), (1_540, "1.5k"), (25_400, "25k"), (3_100_000, "3.1M")],
)
def test_a_count_fits_into_a_cell(count: int, text: str) -> None:
    assert charts.short_count(count) == text


def test_a_quantile_is_the_upper_limit_of_its_bin_and_unknown_in_the_open_one() -> None:
    assert page.quantile([5, 4, 1], [1.0, 2.0], 0.5) == 1.0
    assert page.quantile([5, 4, 1], [1.0, 2.0], 0.9) == 2.0
    assert page.quantile([5, 4, 1], [1.0, 2.0], 0.99) is None
    assert page.quantile([0, 0], [1.0], 0.5) is None


def test_nothing_is_drawn_of_an_empty_report() -> None:
    assert charts.draw(reports.empty()) == {}
