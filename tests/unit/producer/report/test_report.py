"""What a report says, in the terminal and as a page."""

import importlib.util
import io
import re

import pytest
from rich.console import Console

from pointsman_models.comparison import report as comparison_report
from pointsman_producer.report import numbers, sentences
from pointsman_producer.report import page as report_page
from pointsman_producer.report import terminal as report_terminal
from pointsman_shared import errors
from pointsman_shared.wire import shadow_report
from tests.support import reports

REPORTS = {
    "unlabelled": reports.unlabelled(),
    "labelled": reports.labelled(),
    "empty": reports.empty(),
    "hostile": reports.hostile(),
}
EXTERNAL = re.compile(r"""(?:src|href|url)\s*[=(]\s*["']?\s*(?:https?:)?//""", re.IGNORECASE)


def printed(report: shadow_report.ShadowReport) -> str:
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    report_terminal.show(console, report)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("name", REPORTS)
def test_a_page_needs_nothing_from_outside_and_runs_nothing_from_it(name: str) -> None:
    page = report_page.render(REPORTS[name])
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert not EXTERNAL.search(page)
    assert "<script>alert" not in page
    assert "<img src=x" not in page


@pytest.mark.parametrize("name", ["unlabelled", "labelled"])
def test_a_report_names_its_pair_and_how_often_the_models_agree(name: str) -> None:
    report = REPORTS[name]
    for shown in (printed(report), report_page.render(report)):
        assert report.served in shown
        assert report.candidate in shown
        assert "4,000" in shown


def test_a_terminal_report_lists_some_intents_and_counts_the_rest() -> None:
    names = [f"intent_{place:02d}" for place in range(report_terminal.SHOWN_INTENTS + 4)]
    shown = printed(comparison_report.build(reports.observed(intents=names), served="a@1", candidate="a@2"))
    table = shown.partition("By intent")[2]
    assert "and 4 more" in table
    assert table.count("intent_") == report_terminal.SHOWN_INTENTS


@pytest.mark.parametrize(
    ("made_after", "further", "standing"),
    [
        (0, None, "made without a label"),
        (1, None, "made after 1 label"),
        (40, None, "made after 40 labels"),
        (None, 12, "about 12 more labels"),
        (None, None, "not in sight"),
    ],
)
def test_each_statement_says_where_it_stands(
    made_after: int | None, further: int | None, standing: str
) -> None:
    verdict = REPORTS["labelled"].verdict
    assert verdict is not None
    better = verdict.better.model_copy(update={"made_after": made_after, "further": further})
    first, *_ = sentences.statements(verdict.model_copy(update={"better": better}))
    assert (first[0], first[2]) == ("better", standing)


def test_a_terminal_report_passes_on_no_control_characters() -> None:
    shown = printed(REPORTS["hostile"])
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_without_a_text_a_report_says_so_and_decides_nothing() -> None:
    assert "nothing is known" in printed(REPORTS["empty"])
    assert REPORTS["empty"].verdict is None


@pytest.mark.parametrize(
    ("changes", "headline", "explained"),
    [
        ({"decision": "better"}, "Switch: pro@8 is more accurate than pro@7.", "It took 7 labelled"),
        ({"decision": "worse"}, "Keep pro@7: pro@8 is less accurate.", "It took 7 labelled"),
        ({"decision": "no worse"}, "pro@8 is no worse than pro@7", "so no label was needed"),
        ({"contradictory": True}, "No verdict: the labels contradict each other.", "has changed"),
        ({"further": 12}, "Keep looking", "About 12 more labelled disagreements would decide it"),
        ({"further": None}, "Keep looking", "no number in sight would decide it"),
    ],
)
def test_a_decision_says_what_to_do_and_why(
    changes: dict[str, object], headline: str, explained: str
) -> None:
    report = REPORTS["labelled"]
    assert report.verdict is not None
    made = report.verdict.better.model_copy(update={"made_after": 7})
    known = {"decision": "keep looking", "contradictory": False, "better": made, "worse": made}
    free = report.verdict.no_worse.model_copy(update={"made_after": 0})
    verdict = report.verdict.model_copy(update={**known, "no_worse": free, **changes})
    found = sentences.decision(report.model_copy(update={"verdict": verdict}))
    assert headline in found.headline
    assert explained in found.explanation


def test_a_page_without_jinja2_is_refused_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(errors.InvalidDataError, match=r"pip install 'pointsman\[report\]'"):
        report_page.require_packages()


@pytest.mark.parametrize(
    ("share", "shown"),
    [(1.0, "100.0%"), (0.9999, "over 99.9%"), (0.5, "50.0%"), (0.0001, "under 0.1%"), (0.0, "0.0%")],
)
def test_all_and_none_are_said_of_all_and_none_only(share: float, shown: str) -> None:
    assert numbers.percent(share) == shown
