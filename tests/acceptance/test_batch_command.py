"""`pointsman batch` as it is installed, against a real deployment: kills, flips, bad lines."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from pointsman_producer.client.client import Client
from tests.support import flag_config
from tests.support.deadlines import eventually
from tests.support.running import DATA, Running

STAR = DATA.parents[1] / "shared" / "data" / "transcripts" / "star_first2000.jsonl"
# Enough to be flipped over in the middle, though a message takes its time.
FLIPPED_COPIES, FLIPPED_AFTER = 30, 500
DEADLINE_S = 90
INTERRUPTED = 130
BAD_INPUT = 3
TIMES = ("wait_ms", "inference_ms")


@pytest.fixture
def deployed(shared_deployment: Running) -> Running:
    return shared_deployment


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped conversations, many times over."""
    return copied(tmp_path_factory.mktemp("input") / "large.jsonl", copies=100)


def copied(path: Path, *, copies: int) -> Path:
    """Write the shipped conversations many times, each under a name of its own."""
    conversations = [
        json.loads(line) for line in (DATA / "transcripts.jsonl").read_text("utf-8").splitlines()
    ]
    with path.open("w", encoding="utf-8") as out:
        for copy in range(copies):
            for conversation in conversations:
                named = {**conversation, "conversation_id": f"{copy}-{conversation['conversation_id']}"}
                out.write(json.dumps(named) + "\n")
    return path


# Small messages, one at a time: the batch takes long enough to be overtaken by a flip.
SLOW_BATCH = """
import sys
from pathlib import Path
from pointsman_producer.batch import plan, run
from pointsman_producer.client.client import Client
plan = plan.Plan(source=sys.argv[1], out=Path(sys.argv[2]), texts_per_message=10, window=1)
run.run(plan, Client)
"""


def start(deployed: Running, *arguments: str | Path) -> subprocess.Popen[str]:
    command = [Path(sys.executable).with_name("pointsman"), "batch", *arguments]
    return start_process(deployed, command)


def start_process(deployed: Running, command: Sequence[str | Path]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        env={**os.environ, **deployed.settings.environ()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(deployed: Running, *arguments: str | Path) -> tuple[int, str, str]:
    process = start(deployed, *arguments)
    out, err = process.communicate(timeout=DEADLINE_S)
    return process.returncode, out, err


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the outcomes without their durations, which differ from run to run."""
    parsed = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [{key: value for key, value in row.items() if key not in TIMES} for row in parsed]


def customer_turns(path: Path) -> list[tuple[str, int, str]]:
    conversations = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [
        (conversation["conversation_id"], place, turn["text"])
        for conversation in conversations
        for place, turn in enumerate(conversation["turns"])
        if turn["speaker"] == "customer"
    ]


def has_written(partial: Path, count: int) -> bool:
    return partial.exists() and partial.read_bytes().count(b"\n") >= count


@pytest.mark.slow
@pytest.mark.parametrize(
    "ending",
    [
        pytest.param(signal.SIGKILL, id="killed"),
        pytest.param(signal.SIGINT, id="interrupted"),
    ],
)
def test_a_run_that_was_interrupted_and_resumed_gives_the_file_of_one_that_was_not(
    deployed: Running, large: Path, tmp_path: Path, ending: signal.Signals
) -> None:
    whole, pieces = tmp_path / "whole.jsonl", tmp_path / "pieces.jsonl"
    batch = f"batch-{ending.name}"
    assert run(deployed, large, "-o", whole, "--batch-id", batch)[0] == 0
    assert [(row["conversation_id"], row["turn"], row["text"]) for row in rows(whole)] == customer_turns(
        large
    )
    with Client(settings=deployed.settings) as client:
        assert client.progress(batch)["done"] == len(customer_turns(large))

    cut = start(deployed, large, "-o", pieces, "--batch-id", batch)
    eventually(lambda: has_written(tmp_path / "pieces.jsonl.partial", 2_000), "some outcomes are written")
    cut.send_signal(ending)
    _, err = cut.communicate(timeout=DEADLINE_S)
    assert not pieces.exists()
    if ending is signal.SIGINT:
        assert cut.returncode == INTERRUPTED
        assert "--resume" in err

    code, _, err = run(deployed, large, "-o", pieces, "--resume")
    assert code == 0, err
    assert rows(pieces) == rows(whole)
    summaries = [whole.with_name("whole.conversations.jsonl"), pieces.with_name("pieces.conversations.jsonl")]
    assert summaries[0].read_bytes() == summaries[1].read_bytes()
    with Client(settings=deployed.settings) as client:
        assert client.progress(batch)["done"] == len(customer_turns(large)), "nothing was counted twice"


@pytest.mark.slow
def test_a_flip_during_a_batch_moves_its_later_texts_and_loses_none(
    deployed: Running, tmp_path: Path
) -> None:
    source, out = copied(tmp_path / "in.jsonl", copies=FLIPPED_COPIES), tmp_path / "out.jsonl"
    process = start_process(deployed, [sys.executable, "-c", SLOW_BATCH, source, out])
    partial = tmp_path / "out.jsonl.partial"
    eventually(lambda: has_written(partial, FLIPPED_AFTER), "some outcomes are written")
    deployed.set_flags(flag_config.plan_flag(flag_config.TIER_FLAG, "free", "starter", "pro", "enterprise"))
    try:
        _, err = process.communicate(timeout=DEADLINE_S)
    finally:
        deployed.set_flags(flag_config.plan_flag(flag_config.TIER_FLAG, "pro"))
    assert process.returncode == 0, err
    outcomes = rows(out)
    assert [(row["conversation_id"], row["turn"], row["text"]) for row in outcomes] == customer_turns(source)
    assert {row["tier"] for row in outcomes[:FLIPPED_AFTER]} == {"base", "pro"}
    assert {row["tier"] for row in outcomes[-FLIPPED_AFTER:]} == {"pro"}
    assert len({row["flag"]["etag"] for row in outcomes}) == 2


def test_the_plan_decides_the_tier_of_each_conversation(deployed: Running, tmp_path: Path) -> None:
    source, out = DATA / "transcripts.jsonl", tmp_path / "out.jsonl"
    conversations = [json.loads(line) for line in source.read_text("utf-8").splitlines()]
    plans = {item["conversation_id"]: item["user"]["custom"]["plan"] for item in conversations}
    assert run(deployed, source, "-o", out)[0] == 0
    went = Counter((plans[row["conversation_id"]] == "pro", row["tier"]) for row in rows(out))
    assert set(went) == {(True, "pro"), (False, "base")}


def test_lines_that_cannot_be_used_are_rejected_and_the_rest_goes_on(
    deployed: Running, tmp_path: Path
) -> None:
    source, out = tmp_path / "chats.jsonl", tmp_path / "out.jsonl"
    good = {"conversation_id": "a", "turns": [{"speaker": "customer", "text": "hi"}]}
    missing = {"conversation_id": "b", "turns": [{"speaker": "customer"}]}
    source.write_text(
        "\n".join([json.dumps(good), "{not json", json.dumps(missing), json.dumps(good)]) + "\n"
    )
    code, stdout, err = run(deployed, source, "-o", out, "--json")
    assert code == 0, err
    assert json.loads(stdout)["rejected"] == 2
    assert len(rows(out)) == 2
    rejected = [json.loads(line) for line in (tmp_path / "out.jsonl.rejected.jsonl").read_text().splitlines()]
    assert [entry["line"] for entry in rejected] == [2, 3]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_other_formats_hold_the_same_outcomes(deployed: Running, tmp_path: Path, ending: str) -> None:
    source = DATA / "transcripts.jsonl"
    assert run(deployed, source, "-o", tmp_path / f"out.{ending}")[0] == 0
    if ending == "csv":
        with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as lines:
            texts = [row["text"] for row in csv.DictReader(lines)]
    else:
        texts = parquet.read_table(tmp_path / "out.parquet").column("text").to_pylist()
    assert texts == [text for _, _, text in customer_turns(source)]


def test_mistakes_are_explained_without_a_traceback(deployed: Running, tmp_path: Path) -> None:
    for arguments in (
        (tmp_path / "absent.jsonl", "-o", tmp_path / "out.jsonl"),
        (DATA / "transcripts.jsonl", "-o", tmp_path / "no" / "folder" / "out.jsonl"),
        (DATA / "transcripts.jsonl", "-o", tmp_path / "out.jsonl", "--speaker", "nobody"),
    ):
        code, _, err = run(deployed, *arguments)
        assert code in {2, BAD_INPUT}, err
        assert "Traceback" not in err
        assert "error" in err.lower()


@pytest.mark.skipif(not STAR.exists(), reason=f"the real transcripts are not at {STAR}")
def test_two_thousand_real_conversations_give_one_outcome_a_customer_turn(
    deployed: Running, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    assert run(deployed, STAR, "-o", out)[0] == 0
    assert [(row["conversation_id"], row["turn"], row["text"]) for row in rows(out)] == customer_turns(STAR)
