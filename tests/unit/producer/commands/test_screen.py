"""Tables and answers as several commands show them."""

import getpass
from concurrent.futures import Future
from typing import Any

import pytest

from pointsman_producer.batch.progress import Progress
from pointsman_producer.batch.run import Report
from pointsman_producer.batch.summaries import Tally
from pointsman_producer.commands import batch, command_line, screen
from pointsman_producer.commands.terminal import Terminal
from pointsman_producer.files import tables
from pointsman_shared.wire import jobs

ROWS = [{"job_id": "m:0", "texts": 1_234, "share": "50%", "by": None}]
COLUMNS = {"job_id": "job", "texts": "texts", "share": "share", "by": "by"}


def test_numbers_stand_on_the_right_and_ids_are_never_cut() -> None:
    table = tables.table([[*ROWS[0].values()]], [*COLUMNS.values()])
    assert [column.justify for column in table.columns] == ["left", "right", "right", "left"]
    assert [column.no_wrap for column in table.columns] == [True, False, False, False]
    assert [list(column.cells) for column in table.columns] == [["m:0"], ["1,234"], ["50%"], [""]]


def test_a_text_from_a_stranger_neither_moves_the_cursor_nor_styles_the_table() -> None:
    assert tables.cell("\x1b[2J[red]hi[/]\n") == " [2J\\[red]hi\\[/] "


@pytest.mark.parametrize(("rows", "shown"), [(ROWS, "1,234"), ([], "there are none")])
def test_a_person_gets_a_table_or_hears_that_there_are_no_rows(
    rows: list[dict[str, object]], shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    screen.give_table(rows, COLUMNS, "there are none", as_json=False)
    assert shown in "".join(capsys.readouterr())


def test_a_program_gets_the_rows_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    screen.give_table(ROWS, COLUMNS, "there are none", as_json=True)
    assert capsys.readouterr().out == '[{"job_id":"m:0","texts":1234,"share":"50%","by":null}]\n'


@pytest.mark.parametrize("error", [KeyError("uid"), OSError("no name")])
def test_a_user_without_a_name_is_called_after_the_product(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", fail)
    assert screen.myself() == "pointsman"


@pytest.mark.parametrize(
    ("changes", "asked", "said"),
    [
        ({"promoted": True}, True, "yes: it is the champion now"),
        ({}, False, "no: not promoted (--promote never)"),
        ({"candidate": True, "reasons": ["the verdict is awaited"]}, True, "not yet: the verdict is awaited"),
        ({"reasons": ["macro-F1 0.8", "too slow"]}, True, "no: macro-F1 0.8; too slow"),
    ],
)
def test_a_training_says_whether_its_version_serves(
    changes: dict[str, Any], asked: bool, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    reply = jobs.TrainReply.model_validate(
        {
            "tier": "pro",
            "version": 5,
            "promoted": False,
            "reasons": [],
            "metrics": {},
            "pipeline": "words",
            "threshold": 0.4,
            "duration_s": 8.0,
            "warnings": ["an intent has few examples"],
            **changes,
        }
    )
    screen.show_training(reply, asked_to_promote=asked)
    written = capsys.readouterr()
    assert said in " ".join(written.out.split())
    assert "an intent has few examples" in " ".join(written.err.split())


class Run:
    """A training run that is done after its third look."""

    def __init__(self) -> None:
        self.future: Future[Any] = Future()
        self._stages = iter(("search", "search", "fit"))

    def progress(self) -> jobs.TrainProgress:
        stage = next(self._stages)
        if stage == "fit":
            self.future.set_result("done")
        return jobs.TrainProgress(tier="base", stage=stage, fraction=0.5)

    def result(self, _: float) -> Any:
        return self.future.result(0)


def test_a_training_tells_its_stages_where_no_bar_can_be_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(screen, "POLL_S", 0.01)
    run: Any = Run()
    screen.wait_for_training(run, "base")
    assert capsys.readouterr().err.splitlines() == ["base: search", "base: fit"]


@pytest.mark.parametrize("width", [20, 32, 33, 36, 40, 60])
def test_a_narrow_terminal_breaks_no_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(command_line, "out", Terminal())
    row = {"tier": "base", "pipeline": "LinearSVC characters", "intent": "payment_methods"}
    screen.give_table([row, row], {name: name for name in row}, "nothing", as_json=False)
    words = capsys.readouterr().out.split()
    assert words.count("payment_methods") == 2
    assert words.count("characters") == 2


@pytest.mark.parametrize("width", [20, 24, 40, 80])
def test_the_counts_of_a_batch_break_no_word_in_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(command_line, "err", Terminal(stderr=True))
    tally = Tally({("payment_methods", "pro"): 30, ("business_hours", "base"): 10})
    report = Report(batch="b", complete=True, progress=Progress(tally=tally), conversations=4, duration_s=1.0)
    batch.show_counts(report)
    words = capsys.readouterr().err.split()
    assert [words.count(word) for word in ("payment_methods", "business_hours", "75.0%")] == [1, 1, 1]
