"""How outcomes become rows, and rows become files."""

import csv
import dataclasses
import importlib.util
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman_producer import writers
from pointsman_producer.summaries import ConversationSummary
from pointsman_producer.transcripts import Conversation, Rejection, Turn
from pointsman_shared import errors, jobs

needs_parquet = pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed"
)

BASE = jobs.Route(
    tier="base",
    model_version=3,
    flag=jobs.FlagDecision(key="proModel", value=False, reason="default", variation_id="everyone", etag="e1"),
    intents=["greeting", "goodbye"],
    inference_ms=1.5,
)
PRO = jobs.Route(
    tier="pro",
    model_version=7,
    flag=jobs.FlagDecision(key="proModel", value=True, reason="targeting_rule"),
    intents=["refund", "greeting", "goodbye"],
    inference_ms=2.5,
)
OWNER = Conversation(id="c1", user=jobs.User(id="u-1"), turns=(), line=1)
NOBODY = Conversation(id="c2", user=None, turns=(), line=2)
TURNS = [
    Turn(0, "customer", "hi", 10),
    Turn(2, "customer", "refund é\n", None),
    Turn(0, "visitor", "ok", "noon"),
]


def reply(**changes: Any) -> jobs.ClassifyReply:
    columns: dict[str, Any] = {
        "message_id": "m",
        "intent": ["greeting", "refund", "out_of_scope"],
        "confidence": [0.9, 0.8, 0.3],
        "ranking": [[0, 1], [0, 2, 1], []],
        "ranking_confidence": [[0.9, 0.1], [0.8, 0.15, 0.05], []],
        "route_of": [0, 1, 0],
        "routes": [BASE, PRO],
        "wait_ms": 4.0,
    }
    return jobs.ClassifyReply(**{**columns, **changes})


def rows(*, include_text: bool = True, **changes: Any) -> list[dict[str, Any]]:
    lines = writers.encode_outcomes(
        reply(**changes), [OWNER, OWNER, NOBODY], TURNS, include_text=include_text
    )
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    return [json.loads(line) for line in lines]


def test_a_row_holds_the_outcome_and_where_it_comes_from() -> None:
    assert rows()[1] == {
        "job_id": "m:1",
        "conversation_id": "c1",
        "turn": 2,
        "speaker": "customer",
        "ts": None,
        "user_id": "u-1",
        "text": "refund é\n",
        "intent": "refund",
        "confidence": 0.8,
        "ranking": [
            {"intent": "refund", "confidence": 0.8},
            {"intent": "goodbye", "confidence": 0.15},
            {"intent": "greeting", "confidence": 0.05},
        ],
        "tier": "pro",
        "model_version": 7,
        "flag": {
            "key": "proModel",
            "value": True,
            "variation_id": None,
            "reason": "targeting_rule",
            "etag": None,
        },
        "wait_ms": 4.0,
        "inference_ms": 2.5,
    }


def test_rows_say_what_the_outcomes_of_single_jobs_say() -> None:
    for place, row in enumerate(rows()):
        outcome = dataclasses.asdict(jobs.outcome(reply(), place, TURNS[place].text))
        outcome["flag"] = outcome["flag"].model_dump()
        assert {name: row[name] for name in outcome} == {**outcome, "ranking": list(outcome["ranking"])}


def test_texts_are_left_out_where_nobody_wants_them() -> None:
    assert all("text" not in row for row in rows(include_text=False))


@pytest.mark.parametrize(
    "changes", [{"intent": ["greeting"]}, {"route_of": [0, 5, 0]}, {"ranking_confidence": [[0.9], [], []]}]
)
def test_a_reply_that_does_not_fit_is_an_error(changes: dict[str, Any]) -> None:
    with pytest.raises(errors.JobFailedError, match="does not fit its 3 texts"):
        rows(**changes)


def journal_with(folder: Path, out: Path, *, include_text: bool = True) -> None:
    journal = writers.Journal(folder / "j.partial", folder / "j.header")
    journal.begin(b"{}")
    journal.append(writers.encode_outcomes(reply(), [OWNER, OWNER, NOBODY], TURNS, include_text=include_text))
    with closing(journal):
        journal.publish_as(out, writers.outcome_columns(include_text=include_text), ranks=3)
    assert sorted(folder.iterdir()) == [out]


def test_csv_has_a_column_for_everything(tmp_path: Path) -> None:
    journal_with(tmp_path, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        first, second, third = csv.DictReader(file)
    assert ",".join(first) == (
        "job_id,conversation_id,turn,speaker,ts,user_id,text,intent,confidence,tier,model_version,"
        "flag_key,flag_value,flag_variation_id,flag_reason,flag_etag,wait_ms,inference_ms,"
        "ranking_1_intent,ranking_1_confidence,ranking_2_intent,ranking_2_confidence,"
        "ranking_3_intent,ranking_3_confidence"
    )
    assert (first["ts"], third["ts"], second["text"]) == ("10", "noon", "refund é\n")
    assert (first["flag_value"], second["flag_value"], second["flag_etag"]) == ("false", "true", "")
    assert (second["ranking_3_intent"], second["ranking_3_confidence"]) == ("greeting", "0.05")
    assert (first["ranking_2_confidence"], first["ranking_3_intent"], third["ranking_1_intent"]) == (
        "0.1",
        "",
        "",
    )
    assert (third["user_id"], third["turn"]) == ("", "0")


@needs_parquet
def test_parquet_keeps_types(tmp_path: Path) -> None:
    from pyarrow import parquet  # noqa: PLC0415  an extra

    journal_with(tmp_path, tmp_path / "out.parquet", include_text=False)
    table = parquet.read_table(tmp_path / "out.parquet")
    assert "text" not in table.column_names
    second = table.to_pylist()[1]
    assert second["ranking"] == rows()[1]["ranking"]
    assert (second["turn"], second["confidence"], second["flag_value"], second["ts"]) == (
        2,
        0.8,
        "true",
        None,
    )
    assert table.to_pylist()[0]["ts"] == "10"


@needs_parquet
def test_parquet_is_written_in_groups_of_rows(tmp_path: Path) -> None:
    from pyarrow import parquet  # noqa: PLC0415  an extra

    total = 2 * writers.PARQUET_ROWS + 1
    with closing(writers.open_table(tmp_path / "n.parquet", "parquet", {"n": "integer"})) as table:
        for number in range(total):
            table.write({"n": number})
    read = parquet.ParquetFile(tmp_path / "n.parquet")
    assert read.num_row_groups == 3
    assert read.read()["n"].to_pylist() == list(range(total))


def test_a_summary_in_csv_joins_its_lists(tmp_path: Path) -> None:
    summary = ConversationSummary(
        conversation_id="c1",
        user_id=None,
        turns=2,
        intents=("greeting", "refund"),
        primary_intent="greeting",
        out_of_scope_share=0.0,
        tiers=("base", "pro"),
    )
    with closing(writers.open_table(tmp_path / "s.csv", "csv", writers.SUMMARY_COLUMNS)) as table:
        table.write(writers.summary_row(summary))
    with (tmp_path / "s.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["intents"], row["tiers"], row["user_id"]) == ("greeting > refund", "base > pro", "")


@given(values=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1))
def test_csv_keeps_every_text_exactly(tmp_path_factory: pytest.TempPathFactory, values: list[str]) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    with closing(writers.open_table(path, "csv", {"n": "integer", "text": "text"})) as table:
        for number, value in enumerate(values):
            table.write({"n": number, "text": value})
    with path.open(newline="", encoding="utf-8") as file:
        assert [row["text"] for row in csv.DictReader(file)] == values


def test_the_ending_chooses_the_format() -> None:
    assert writers.format_of(Path("a.JSONL")) == "jsonl"
    assert writers.format_of(Path("a.csv")) == "csv"
    with pytest.raises(errors.InvalidDataError, match=r"has to end in one of \.jsonl"):
        writers.format_of(Path("a.xlsx"))


def test_parquet_without_pyarrow_is_refused_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(errors.InvalidDataError, match=r"pip install 'pointsman\[parquet\]'"):
        writers.format_of(Path("a.parquet"))


@pytest.mark.parametrize("tail", [b"", b'{"n":3,"text":"long enough', b'{"n":3}', b"\0" * 20 + b"\n"])
def test_a_journal_reads_back_what_was_appended_and_cuts_off_what_is_torn(
    tmp_path: Path, tail: bytes
) -> None:
    paths = (tmp_path / "j", tmp_path / "h")
    with closing(writers.Journal(*paths)) as journal:
        assert journal.is_new
        journal.begin(b"head")
        journal.append([b'{"n":1}\n', b'{"n":2}\n'])
    paths[0].write_bytes(paths[0].read_bytes() + tail)
    with closing(writers.Journal(*paths)) as journal:
        assert (journal.is_new, journal.read_header()) == (False, b"head")
        assert journal.replay(1) == [{"n": 1}]
        assert journal.replay(5) == [{"n": 2}]
        assert journal.replay(5) == []
        journal.append([b'{"n":4}\n'])
    assert paths[0].read_bytes() == b'{"n":1}\n{"n":2}\n{"n":4}\n'


def test_a_journal_belongs_to_one_run_at_a_time(tmp_path: Path) -> None:
    paths = (tmp_path / "j", tmp_path / "h")
    with closing(writers.Journal(*paths)), pytest.raises(errors.BusyError, match="another run is writing"):
        writers.Journal(*paths)


def test_a_journal_nobody_can_go_on_with_leaves_nothing_behind(tmp_path: Path) -> None:
    for keep in (False, True):
        with closing(writers.Journal(tmp_path / "j", tmp_path / "h")) as journal:
            journal.begin(b"head")
            if keep:
                journal.keep()
        assert sorted(path.name for path in tmp_path.iterdir()) == (["h", "j"] if keep else [])


def test_rejected_lines_get_a_file_only_if_there_are_any(tmp_path: Path) -> None:
    told: list[Rejection] = []
    path = tmp_path / "r.jsonl"
    path.write_text("of an earlier run")
    with closing(writers.RejectedLines(path, told.append)) as rejected:
        rejected.begin()
        assert not path.exists()
        rejected.add(Rejection(line=4, reason="why", content="what"))
    assert json.loads(path.read_text()) == {"line": 4, "reason": "why", "content": "what"}
    assert (rejected.count, told[0].line) == (1, 4)
