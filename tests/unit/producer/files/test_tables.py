"""How rows become files."""

import csv
import importlib.util
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pointsman_producer.files import tables
from pointsman_shared.data_files import rows
from pointsman_shared.data_files.cells import unguard

needs_parquet = pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed"
)


@needs_parquet
def test_parquet_is_written_in_groups_of_rows(tmp_path: Path) -> None:
    from pyarrow import parquet  # noqa: PLC0415  an extra

    total = 2 * tables.PARQUET_ROWS + 1
    with tables.writing(tmp_path / "n.parquet", "parquet", {"n": "integer"}) as write:
        for number in range(total):
            write({"n": number})
    read = parquet.ParquetFile(tmp_path / "n.parquet")
    assert read.num_row_groups == 3
    assert read.read()["n"].to_pylist() == list(range(total))


TEXTS = st.builds(
    str.__add__,
    st.text("'=+-@\t\r", max_size=3),
    st.text(st.characters(codec="utf-8", exclude_characters="\0")),
)


@pytest.mark.parametrize("raw", [False, True])
@given(values=st.lists(TEXTS, min_size=1))
def test_csv_keeps_every_text_exactly_and_guards_formulas_unless_raw(
    tmp_path_factory: pytest.TempPathFactory, values: list[str], raw: bool
) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    with tables.writing(path, "csv", {"n": "integer", "text": "text"}, raw=raw) as write:
        for number, value in enumerate(values):
            write({"n": -number, "text": value})
    with path.open(newline="", encoding="utf-8") as file:
        cells = [row["text"] for row in csv.DictReader(file)]
    if raw:
        assert cells == values
    else:
        assert not any(cell.startswith(tuple("=+-@\t\r")) for cell in cells)
        assert [*map(unguard, cells)] == values


def test_csv_has_the_columns_it_is_given_and_two_for_each_rank(tmp_path: Path) -> None:
    def header(**ranks: Any) -> str:
        columns: dict[str, tables.Kind] = {"n": "integer", "text": "text", "ranking": "ranking"}
        with tables.writing(tmp_path / "t.csv", "csv", columns, **ranks) as write:
            write({"n": 1, "text": "hi", "ranking": []})
        return (tmp_path / "t.csv").read_text().splitlines()[0]

    assert header() == "n,text"
    assert header(ranks=1) == "n,text,ranking_1_intent,ranking_1_confidence"


def shown(table: Table) -> list[str]:
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_terminal_table_aligns_numbers_and_shows_text_as_it_is() -> None:
    rows: list[tuple[object, ...]] = [
        ("[bold]a[/]\x1b[31m", 1_234),
        (None, 7),
        (Text("dim", style="dim"),),
    ]
    assert shown(tables.table(rows, ("who", "texts"))) == [
        "who              texts",
        "[bold]a[/] [31m  1,234",
        "                     7",
        "dim",
    ]


def test_a_terminal_table_has_its_headings_and_its_alignment() -> None:
    assert shown(tables.table([("a", "7%")], ("first", "share"), right=["share"])) == [
        "first  share",
        "a         7%",
    ]
    assert shown(tables.table([], ("first", "[x]"))) == ["first  [x]"]


@pytest.mark.parametrize("raw", [False, True])
def test_labelled_rows_are_read_without_the_guard(tmp_path: Path, raw: bool) -> None:
    path = tmp_path / "t.csv"
    with tables.writing(path, "csv", {"text": "text", "intent": "text"}, raw=raw) as write:
        write({"text": "=1+1", "intent": "sum"})
    (record,) = rows.read(path, rows.Problems(), columns=())
    assert record.fields == {"text": "=1+1", "intent": "sum"}
