"""The report on a pair of models as one page that needs nothing else: no script, no font, no request to anywhere."""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pointsman_producer.files import writers
from pointsman_producer.report import sentences
from pointsman_shared import errors
from pointsman_shared.wire import shadow_report

TEMPLATES = Path(__file__).parent / "templates"
PACKAGES = ("jinja2", "matplotlib")
SHOWN_FLOWS = 40
SHOWN_DISAGREEMENTS = 200
PERCENTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawing and what it shows, in words for those who cannot see it."""

    svg: str
    alternative: str


def require_packages() -> None:
    """Check that a page can be made, before anything is computed for it.

    Raises:
        InvalidDataError: A package is missing; the message says how to get it.
    """
    missing = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        msg = f"an HTML report needs {' and '.join(missing)}: pip install 'pointsman[report]'"
        raise errors.InvalidDataError(msg)


def write(report: shadow_report.ShadowReport, path: Path) -> None:
    """Write the page; it is there as a whole or not at all.

    Raises:
        InvalidDataError: It cannot be written there, or a package is missing.
    """
    require_packages()
    page = render(report)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror}"
        raise errors.InvalidDataError(msg) from error
    with writers.whole(path) as new:
        new.write_text(page, encoding="utf-8")


def render(report: shadow_report.ShadowReport, *, made_at: datetime | None = None) -> str:
    """Give the page.

    Args:
        report: What it is about.
        made_at: What it says about when it was made; left out, now.
    """
    # Loaded here because they are an extra, and take longer to load than most commands to run.
    import jinja2  # noqa: PLC0415

    # Whatever comes from a text, an intent or a user is escaped.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(readable=_readable)
    when = made_at or datetime.now(tz=UTC)
    page: str = environment.get_template("shadow.html.jinja").render(
        report=report,
        words=sentences,
        decision=sentences.decision(report),
        charts=dict(_charts(report)),
        shown_flows=report.flows[:SHOWN_FLOWS],
        other_flows=sum(flow.texts for flow in report.flows[SHOWN_FLOWS:]) + report.flows_left_out,
        shown_disagreements=report.disagreements[:SHOWN_DISAGREEMENTS],
        percentiles=list(_percentiles(report.latency)),
        made_at=f"{when:%Y-%m-%d %H:%M} UTC",
    )
    return page


def _readable(text: str) -> str:
    """Take out control characters, which a page may not hold, and those that turn the direction of writing."""
    return "".join(char if char.isprintable() else " " for char in text)


def _charts(report: shadow_report.ShadowReport) -> Iterator[tuple[str, Chart]]:
    from pointsman_producer.report import charts  # noqa: PLC0415  loads matplotlib

    drawn = {
        "flows": (charts.flows(report), _flows_in_words(report)),
        "intents": (charts.intents(report), _intents_in_words(report)),
        "days": (charts.days(report), "A line: the agreement day by day, as in the table of days."),
        "evidence": (charts.evidence(report), _evidence_in_words(report)),
        "confidence": (charts.confidences(report), sentences.confidence(report) or ""),
        "latency": (charts.latencies(report), sentences.latency(report) or ""),
    }
    for name, (svg, alternative) in drawn.items():
        if svg is not None:
            yield name, Chart(svg=svg, alternative=_readable(alternative))


def _flows_in_words(report: shadow_report.ShadowReport) -> str:
    top = "; ".join(f"{one.served} to {one.candidate} {one.texts}" for one in report.flows[:3])
    return f"A heat map of served intents by the candidate's intents. The largest moves: {top or 'none'}. A table follows."


def _intents_in_words(report: shadow_report.ShadowReport) -> str:
    rates = [(one.agreement.value, one.intent) for one in report.intents if one.agreement is not None]
    lowest = f" Lowest: {min(rates)[1]} with {sentences.percent(min(rates)[0])}." if rates else ""
    return f"Bars: the agreement on each served intent with its 95% interval.{lowest} A table follows."


def _evidence_in_words(report: shadow_report.ShadowReport) -> str:
    if report.verdict is None:
        return ""
    standings = "; ".join(f"{name}: {standing}" for name, _, standing in sentences.statements(report.verdict))
    return f"Lines: the evidence for each statement after each label, on a logarithmic scale. {standings}. A table is above."


def _percentiles(found: shadow_report.Latency) -> Iterator[tuple[str, str, str]]:
    from pointsman_producer.report.charts import quantile  # noqa: PLC0415  loads matplotlib

    if not any(found.served_histogram) or not any(found.candidate_histogram):
        return
    for share in PERCENTILES:
        sides = (
            quantile(counts, found.edges_ms, share)
            for counts in (found.served_histogram, found.candidate_histogram)
        )
        served, candidate = ("beyond the scale" if limit is None else f"≤ {limit:.3g} ms" for limit in sides)
        yield f"{share:.0%} of texts", served, candidate
