"""The report on a pair of models for a person at a terminal."""

from collections.abc import Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pointsman_producer.report import sentences
from pointsman_shared.wire import shadow_report

SHOWN_FLOWS = 10
SHOWN_INTENTS = 25
SHOWN_DISAGREEMENTS = 8
# Longer texts are in the page and in the JSON.
SHOWN_TEXT_CHARS = 100
BAR_CELLS = 10
STYLES = {"good": "bold green", "bad": "bold red", "open": "bold yellow"}


def show(console: Console, report: shadow_report.ShadowReport) -> None:
    """Print a report."""
    for part in _parts(report):
        # Some consoles leave the wrapping to the terminal, which ignores the margin.
        console.print(part, soft_wrap=False)


def _parts(report: shadow_report.ShadowReport) -> Iterable[RenderableType]:
    decision = sentences.decision(report)
    yield Text(report.pair, style="bold")
    yield _indented(Text(decision.headline, style=STYLES[decision.tone]), Text(decision.explanation))
    yield from (_indented(Text.assemble(("note  ", "yellow"), plain(warning))) for warning in report.warnings)
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
    said = [Text(plain(line)) for line in lines]
    shown = table is not None and table.row_count > 0
    if said or shown:
        yield Text(f"\n{title}", style="bold")
        yield _indented(*said, *([table] if table is not None and shown else []))


def _indented(*parts: RenderableType) -> Padding:
    return Padding(Group(*parts), (0, 0, 0, 2))


def plain(text: str) -> str:
    """Replace control characters, which could move the cursor or ring the bell: texts come from strangers."""
    return "".join(char if char.isprintable() else " " for char in text)


def _cell(text: str) -> str:
    return escape(plain(text))


def _table(*columns: str, numbers: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(_cell(column), justify="right" if column in numbers else "left")
    return table


def _statements(report: shadow_report.ShadowReport) -> Table | None:
    if report.verdict is None:
        return None
    table = _table(
        "the candidate is", "evidence", "needed", "error rate", numbers=("evidence", "needed", "error rate")
    )
    table.add_column("where it stands")
    for name, one, standing in sentences.statements(report.verdict):
        needed = sentences.evidence(one.threshold_log_e)
        table.add_row(name, sentences.evidence(one.highest_log_e), needed, f"{one.error_rate:.1%}", standing)
    return table


def _flows(report: shadow_report.ShadowReport) -> Table:
    table = _table(
        report.served, "", report.candidate, "texts", "of that intent", numbers=("texts", "of that intent")
    )
    for flow in report.flows[:SHOWN_FLOWS]:
        share = sentences.percent(flow.share_of_served)
        table.add_row(_cell(flow.served), "->", _cell(flow.candidate), f"{flow.texts:,}", share)
    rest = sum(flow.texts for flow in report.flows[SHOWN_FLOWS:]) + report.flows_left_out
    if rest:
        table.add_row("[dim]others[/]", "", "", f"{rest:,}", "")
    return table


def _intents(report: shadow_report.ShadowReport) -> Table:
    table = _table("intent", "served", "candidate", "agreement", "", numbers=("served", "candidate"))
    for one in report.intents[:SHOWN_INTENTS]:
        table.add_row(_cell(one.intent), f"{one.served:,}", f"{one.candidate:,}", *_agreement(one.agreement))
    if len(report.intents) > SHOWN_INTENTS:
        table.add_row(f"[dim]and {len(report.intents) - SHOWN_INTENTS} more[/]", "", "", "", "")
    return table


def _agreement(rate: shadow_report.Rate | None) -> tuple[str, str]:
    if rate is None:
        return "[dim]never served[/]", ""
    filled = round(rate.value * BAR_CELLS)
    return sentences.rate(rate), f"[cyan]{'━' * filled}[/][dim]{'─' * (BAR_CELLS - filled)}[/]"


def _attributes(report: shadow_report.ShadowReport) -> Table:
    table = _table("group", "value", "texts", "agreement", "", numbers=("texts",))
    for one in report.attributes:
        name, value = _cell(one.attribute), _cell(one.value)
        table.add_row(name, value, f"{one.agreement.texts:,}", *_agreement(one.agreement))
    return table


def _disagreements(report: shadow_report.ShadowReport) -> Table:
    table = _table("text", report.served, report.candidate, "label")
    for one in report.disagreements[:SHOWN_DISAGREEMENTS]:
        text = "[dim]not kept[/]" if one.text is None else _cell(shortened(one.text))
        table.add_row(text, _cell(one.served), _cell(one.candidate), _cell(one.label or ""))
    return table


def shortened(text: str, chars: int = SHOWN_TEXT_CHARS) -> str:
    """Cut a text that is too long to show."""
    return text if len(text) <= chars else text[: chars - 1] + "…"
