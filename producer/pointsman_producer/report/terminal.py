"""The report on a pair of models for a person at a terminal."""

from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pointsman_producer.files import tables
from pointsman_producer.files.tables import printable
from pointsman_producer.report import numbers, sentences
from pointsman_shared.wire import shadow_report

SHOWN_FLOWS = 10
SHOWN_INTENTS = 25
SHOWN_DISAGREEMENTS = 8
# Longer texts are in the page and in the JSON.
SHOWN_TEXT_CHARS = 100
BAR_CELLS = 10
PIPE_WIDTH = 100
STYLES = {"good": "bold green", "bad": "bold red", "open": "bold yellow"}


def show(console: Console, report: shadow_report.ShadowReport) -> None:
    """Print a report."""
    for part in _parts(report):
        # Some consoles leave the wrapping to the terminal, which ignores the margin.
        console.print(part, soft_wrap=False, width=None if console.is_terminal else PIPE_WIDTH)


def _parts(report: shadow_report.ShadowReport) -> Iterable[RenderableType]:
    decision = sentences.decision(report)
    yield Text(report.pair, style="bold")
    yield _indented(Text(decision.headline, style=STYLES[decision.tone]), Text(decision.explanation))
    yield from (
        _indented(Text.assemble(("note  ", "yellow"), printable(warning))) for warning in report.warnings
    )
    yield from _section("Agreement", [sentences.agreement(report), *sentences.balance(report)])
    yield from _section("What the labels say", sentences.labelled(report), _statements(report))
    yield from _section("Where they differ", [], _flows(report))
    yield from _section("By intent", [], _intents(report))
    yield from _section("By group", [], _attributes(report))
    sure_and_fast = [sentences.confidence(report), sentences.latency(report)]
    yield from _section("Confidence and time", [line for line in sure_and_fast if line])
    yield from _section("What was left out", sentences.missed(report))
    yield from _section("Some disagreements", [], _disagreements(report))


def _section(title: str, lines: Iterable[str], table: Table | None = None) -> Iterable[RenderableType]:
    said = [Text(printable(line)) for line in lines]
    shown = table is not None and table.row_count > 0
    if said or shown:
        yield Text(f"\n{title}", style="bold")
        yield _indented(*said, *([table] if table is not None and shown else []))


def _indented(*parts: RenderableType) -> Padding:
    return Padding(Group(*parts), (0, 0, 0, 2))


def _statements(report: shadow_report.ShadowReport) -> Table | None:
    if report.verdict is None:
        return None
    rows: list[tuple[str, ...]] = []
    for name, one, standing in sentences.statements(report.verdict):
        reached, needed = numbers.evidence(one.highest_log_e), numbers.evidence(one.threshold_log_e)
        rows.append((name, reached, needed, f"{one.error_rate:.1%}", standing))
    figures = ("evidence", "needed", "error rate")
    return tables.table(rows, ("the candidate is", *figures, "where it stands"), right=figures)


def _flows(report: shadow_report.ShadowReport) -> Table:
    rows: list[tuple[object, ...]] = [
        (flow.served, "->", flow.candidate, flow.texts, numbers.percent(flow.share_of_served))
        for flow in report.flows[:SHOWN_FLOWS]
    ]
    rest = sum(flow.texts for flow in report.flows[SHOWN_FLOWS:]) + report.flows_left_out
    if rest:
        rows.append((_dim("others"), "", "", rest))
    columns = (report.served, "", report.candidate, "texts", "of that intent")
    return tables.table(rows, columns, right=columns[-1:])


def _intents(report: shadow_report.ShadowReport) -> Table:
    rows: list[tuple[object, ...]] = [
        (one.intent, one.served, one.candidate, *_agreement(one.agreement))
        for one in report.intents[:SHOWN_INTENTS]
    ]
    if len(report.intents) > SHOWN_INTENTS:
        rows.append((_dim(f"and {len(report.intents) - SHOWN_INTENTS} more"),))
    return tables.table(rows, ("intent", "served", "candidate", "agreement", ""))


def _agreement(rate: shadow_report.Rate | None) -> tuple[str | Text, ...]:
    if rate is None:
        return (_dim("never served"),)
    filled = round(rate.value * BAR_CELLS)
    return numbers.share(rate), Text.assemble(("━" * filled, "cyan"), ("─" * (BAR_CELLS - filled), "dim"))


def _attributes(report: shadow_report.ShadowReport) -> Table:
    rows = [
        (one.attribute, one.value, one.agreement.texts, *_agreement(one.agreement))
        for one in report.attributes
    ]
    return tables.table(rows, ("group", "value", "texts", "agreement", ""))


def _disagreements(report: shadow_report.ShadowReport) -> Table:
    rows = [
        (_said(one.text), one.served, one.candidate, one.label)
        for one in report.disagreements[:SHOWN_DISAGREEMENTS]
    ]
    return tables.table(rows, ("text", report.served, report.candidate, "label"))


def _said(text: str | None) -> str | Text:
    return _dim("not kept") if text is None else numbers.shortened(text, SHOWN_TEXT_CHARS)


def _dim(text: str) -> Text:
    return Text(text, style="dim")
