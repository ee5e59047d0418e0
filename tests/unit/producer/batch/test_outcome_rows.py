"""How outcomes and summaries become rows, and those rows files."""

import csv
import dataclasses
import importlib.util
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pointsman_producer.batch import outcome_rows
from pointsman_producer.batch.journal import Journal
from pointsman_producer.client.window import Chunk
from pointsman_producer.files import tables
from pointsman_producer.transcripts.reader import Conversation, Turn
from pointsman_shared import errors
from pointsman_shared.wire import jobs

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
WITHOUT_USER = Conversation(id="c2", user=None, turns=(), line=2)
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
    lines = outcome_rows.encode_outcomes(
        reply(**changes), [OWNER, OWNER, WITHOUT_USER], TURNS, include_text=include_text
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


def test_texts_are_left_out_where_they_are_not_wanted() -> None:
    assert all("text" not in row for row in rows(include_text=False))


@pytest.mark.parametrize(
    "changes", [{"intent": ["greeting"]}, {"route_of": [0, 5, 0]}, {"ranking_confidence": [[0.9], [], []]}]
)
def test_a_reply_that_does_not_fit_is_an_error(changes: dict[str, Any]) -> None:
    with pytest.raises(errors.JobFailedError, match="does not fit its 3 texts"):
        rows(**changes)


def test_rows_are_known_again_by_their_job_their_place_and_their_text() -> None:
    chunk = Chunk(number=0, owners=[OWNER, OWNER, WITHOUT_USER], turns=TURNS, position=0)
    assert outcome_rows.are_of(chunk, "m", rows())
    assert outcome_rows.are_of(chunk, "m", rows(include_text=False)[:2])
    assert not outcome_rows.are_of(chunk, "n", rows())
    for change in ({"conversation_id": "c3"}, {"turn": 1}, {"text": "no"}, {"job_id": "m:2"}):
        first, *others = rows()
        assert not outcome_rows.are_of(chunk, "m", [first | change, *others])


def journal_with(folder: Path, out: Path, *, include_text: bool = True) -> None:
    journal = Journal(folder / "j.partial", folder / "j.header")
    journal.begin(b"{}")
    journal.append(
        outcome_rows.encode_outcomes(reply(), [OWNER, OWNER, WITHOUT_USER], TURNS, include_text=include_text)
    )
    with closing(journal):
        journal.publish_as(out, outcome_rows.outcome_columns(include_text=include_text), ranks=3)
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


def test_a_summary_in_csv_joins_its_lists(tmp_path: Path) -> None:
    summary = {
        "conversation_id": "c1",
        "user_id": None,
        "turns": 2,
        "intents": ["greeting", "refund"],
        "primary_intent": "greeting",
        "out_of_scope_share": 0.0,
        "tiers": ["base", "pro"],
    }
    with tables.writing(tmp_path / "s.csv", "csv", outcome_rows.SUMMARY_COLUMNS) as write:
        write(summary)
    with (tmp_path / "s.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["intents"], row["tiers"], row["user_id"]) == ("greeting > refund", "base > pro", "")
