"""The report on a pair of models as one page that needs nothing else: no script, no font, no request."""

import importlib.util
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path

from pointsman_producer.files import tables, writers
from pointsman_producer.report import charts, numbers, sentences
from pointsman_shared import errors
from pointsman_shared.wire import shadow_report

TEMPLATES = Path(__file__).parent / "templates"
SHOWN_FLOWS = 40
SHOWN_DISAGREEMENTS = 200
PERCENTILES = (0.5, 0.95, 0.99)


def require_packages() -> None:
    """Refuse a page that cannot be made, before anything is computed for it (`InvalidDataError`)."""
    if importlib.util.find_spec("jinja2") is None:
        msg = "an HTML report needs jinja2: pip install 'pointsman[report]'"
        raise errors.InvalidDataError(msg)


def write(report: shadow_report.ShadowReport, path: Path) -> None:
    """Write the page, whole or not at all."""
    require_packages()
    page = render(report)
    with writers.whole(path) as new:
        new.write_text(page, encoding="utf-8")


def render(report: shadow_report.ShadowReport, *, made_at: datetime | None = None) -> str:
    """Return the page; it shows when it was made, by default now."""
    # Loaded here because it is an extra, and takes longer to load than most commands to run.
    import jinja2  # noqa: PLC0415

    # The template escapes everything that comes from a text, an intent or a user.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(readable=tables.printable)
    when = made_at or datetime.now(tz=UTC)
    page: str = environment.get_template("shadow.html.jinja").render(
        report=report,
        words=sentences,
        numbers=numbers,
        decision=sentences.decision(report),
        charts=charts.draw(report),
        shown_flows=report.flows[:SHOWN_FLOWS],
        other_flows=sum(flow.texts for flow in report.flows[SHOWN_FLOWS:]) + report.flows_left_out,
        shown_disagreements=report.disagreements[:SHOWN_DISAGREEMENTS],
        percentiles=list(_percentiles(report.latency)),
        made_at=f"{when:%Y-%m-%d %H:%M} UTC",
    )
    return page


def _percentiles(found: shadow_report.Latency) -> Iterator[tuple[str, str, str]]:
    histograms = found.served_histogram, found.candidate_histogram
    if not all(map(any, histograms)):
        return
    for share in PERCENTILES:
        sides = (quantile(counts, found.edges_ms, share) for counts in histograms)
        served, candidate = ("beyond the scale" if limit is None else f"≤ {limit:.3g} ms" for limit in sides)
        yield f"{share:.0%} of texts", served, candidate


def quantile(counts: Sequence[int], edges: Sequence[float], share: float) -> float | None:
    """Return the upper limit of the bin that holds a quantile; None if the bin is open or all bins are empty."""
    target = share * sum(counts)
    place = next((place for place, below in enumerate(accumulate(counts)) if below and below >= target), None)
    return edges[place] if place is not None and place < len(edges) else None
