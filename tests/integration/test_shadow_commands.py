"""`pointsman shadow` and `pointsman label` with real workers."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from pointsman_producer.client.client import Client
from pointsman_producer.commands import command_line, root
from pointsman_shared import names
from tests.support import flag_config, tiny
from tests.support.default_keys import keys
from tests.support.running import Running

HINT3 = Path(__file__).parents[3] / "shared" / "data" / "hint3"
TEXTS = [text for utterances in tiny.UTTERANCES.values() for text in utterances]
PAIR = "base@1 vs pro@1"
TIMEOUT_S = 60
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def deployed(shared_deployment: Running) -> Running:
    """Give a deployment that has shadowed every text once."""
    flags = flag_config.plan_flag(flag_config.TIER_FLAG, "pro")
    flags["f"][names.SHADOW_FLAG] = flag_config.flag(1.0)
    shared_deployment.set_flags(flags)
    with Client(settings=shared_deployment.settings) as client:
        while not client.shadow.pairs():
            client.submit_many(TEXTS)[-1].result(TIMEOUT_S)
            assert client.shadow.wait_drained(TIMEOUT_S)
    return shared_deployment


@pytest.fixture
def pointsman(
    deployed: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Give the command line, as (exit code, stdout, stderr), where nothing is labelled yet."""
    redis_url = deployed.settings.redis_url.get_secret_value()
    with Redis.from_url(redis_url) as redis:
        redis.delete(keys.labels, keys.label_times, keys.labels_count)
    monkeypatch.setenv("POINTSMAN_REDIS_URL", redis_url)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> tuple[int, str, str]:
        code = command_line.run(root.pointsman, [str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


def parsed(done: tuple[int, str, str]) -> Any:
    code, out, err = done
    assert code == 0, err
    return json.loads(out)


def test_labels_that_were_drawn_and_filled_in_decide(pointsman: Command, tmp_path: Path) -> None:
    todo, filled = tmp_path / "todo.csv", tmp_path / "filled.csv"
    before = parsed(pointsman("shadow", "report", PAIR, "--json"))
    assert before["verdict"] is None
    assert pointsman("label", "queue", PAIR, "--limit", 100, "-o", todo)[0] == 0
    with todo.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["agreed"] for row in rows] == sorted(row["agreed"] for row in rows), (
        "disagreements come first"
    )
    disagreements = sum(row["agreed"] == "False" for row in rows)
    assert disagreements == before["agreement"]["texts"] - before["agreement"]["agreed"] > 0
    for row in rows[:-1]:
        row["label"] = row["candidate"]
    with filled.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)

    done = parsed(pointsman("label", "import", filled, "--by", "ana", "--json"))
    assert done == {"accepted": len(rows) - 1, "rejected": [], "without_label": 1}
    found = parsed(pointsman("shadow", "report", PAIR, "--json"))["verdict"]
    assert (found["wins"], found["losses"], found["ties"]) == (disagreements, 0, 0)

    exported = tmp_path / "labels.jsonl"
    assert pointsman("label", "export", PAIR, "-o", exported)[0] == 0
    labels = [json.loads(line) for line in exported.read_text().splitlines()]
    assert {label["job_id"]: label["label"] for label in labels} == {
        row["job_id"]: row["label"] for row in rows[:-1]
    }
    assert {label["by"] for label in labels} == {"ana"}
    assert all(label["drawn"] for label in labels)


def test_an_import_with_a_refused_label_fails_and_names_the_line(pointsman: Command, tmp_path: Path) -> None:
    (row, *_) = parsed(pointsman("label", "queue", PAIR, "--json"))
    path = tmp_path / "labels.csv"
    path.write_text(f"job_id,label\n{row['job_id']},greeting\nnosuch:0,greeting\n")
    code, _, err = pointsman("label", "import", path)
    assert code == command_line.BAD_INPUT
    assert "1 labels taken" in err
    assert f"{path}:3: nosuch:0: there is no such job" in "".join(err.split("\n"))


def test_a_file_that_is_there_is_not_overwritten_unasked(pointsman: Command, tmp_path: Path) -> None:
    todo = tmp_path / "todo.csv"
    todo.write_text("hours of work")
    code, _, err = pointsman("label", "queue", PAIR, "-o", todo)
    assert (code, todo.read_text()) == (command_line.BAD_INPUT, "hours of work")
    assert "--force" in err
    assert pointsman("label", "queue", PAIR, "-o", todo, "--force")[0] == 0
    assert "job_id" in todo.read_text()


def test_one_job_is_labelled_in_short_and_a_slip_of_the_pen_is_named(pointsman: Command) -> None:
    (row, *_) = parsed(pointsman("label", "queue", PAIR, "--json"))
    code, _, err = pointsman("label", row["job_id"], "greting", "--by", "bob")
    assert code == command_line.BAD_INPUT
    assert "there is no intent 'greting'; did you mean 'greeting'?" in err
    assert pointsman("label", row["job_id"], "greeting", "--by", "bob")[0] == 0
    labels = {label["job_id"]: label for label in parsed(pointsman("label", "export", "--json"))}
    assert (labels[row["job_id"]]["label"], labels[row["job_id"]]["by"]) == ("greeting", "bob")
    code, _, err = pointsman("label", "nonsense", "greeting")
    assert (code, "is not a job id" in err) == (command_line.BAD_INPUT, True)


def test_two_versions_are_compared_on_a_labelled_file(pointsman: Command, tmp_path: Path) -> None:
    file, page = tmp_path / "texts.jsonl", tmp_path / "reports" / "page.html"
    rows = [{"text": text, "intent": intent} for intent, texts in tiny.UTTERANCES.items() for text in texts]
    file.write_text("\n".join(map(json.dumps, rows)))
    before = parsed(pointsman("shadow", "pairs", "--json"))
    for place in (page, Path("/dev/full")):
        refused = pointsman("shadow", "compare", "base", "pro@1", file, "--html", place)
        assert refused[0] == command_line.BAD_INPUT, "no folder, no file"
    page.parent.mkdir()
    report = parsed(pointsman("shadow", "compare", "base", "pro@1", file, "--html", page, "--json"))
    assert (report["served"], report["candidate"]) == ("base@1", "pro@1")
    assert report["agreement"]["texts"] == len(rows)
    verdict = report["verdict"]
    assert (verdict["wins"], verdict["losses"]) == (len(tiny.UTTERANCES["payment_methods"]), 0)
    assert all(one["text"] in tiny.UTTERANCES["payment_methods"] for one in report["disagreements"])
    assert "base@1" in page.read_text()
    assert pointsman("shadow", "compare", "base", "pro@1", file, "--html", page)[0] == command_line.BAD_INPUT
    assert pointsman("shadow", "compare", "base", "pro@1", file, "--html", page, "--force")[0] == 0
    assert parsed(pointsman("shadow", "pairs", "--json")) == before, "nothing of a file is stored"


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        (("base", "pro@9"), "no version 9"),
        (("base", "pro@candidate"), "pro@candidate names no version"),
        (("base", "nonsense"), "nonsense"),
    ],
)
def test_a_version_that_is_not_there_is_named(
    pointsman: Command, tmp_path: Path, versions: tuple[str, str], said: str
) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("hi\n")
    code, _, err = pointsman("shadow", "compare", *versions, file)
    assert (code, said in err) == (command_line.BAD_INPUT, True), err


@pytest.mark.parametrize("trained_on", ["full", "subset"])
def test_published_predictions_are_reported_as_they_are(
    pointsman: Command, tmp_path: Path, trained_on: str
) -> None:
    if not HINT3.exists():
        pytest.skip("the HINT3 predictions are not beside the repository (../shared/data/hint3)")
    rows: dict[tuple[str, int], dict[str, str]] = {}
    for line in (HINT3 / "platform_predictions_v1.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["trained_on"] == trained_on and row["platform"] in {"rasa", "bert"}:
            entry = rows.setdefault(
                (row["bot"], row["row"]), {"label": row["label"], "text": row["sentence"]}
            )
            entry[row["platform"]] = row["predicted_node"]
            entry[f"{row['platform']}_confidence"] = row["predicted_node_score"]
    file = tmp_path / "answers.csv"
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(
            lines, ["text", "label", "rasa", "bert", "rasa_confidence", "bert_confidence"]
        )
        writer.writeheader()
        writer.writerows(rows.values())

    report = parsed(pointsman("shadow", "compare", "rasa", "bert", file, "--from-predictions", "--json"))
    differ = [row for row in rows.values() if row["rasa"] != row["bert"]]
    wins, losses = (sum(row["label"] == row[model] for row in differ) for model in ("bert", "rasa"))
    assert (report["agreement"]["texts"], report["agreement"]["agreed"]) == (
        len(rows),
        len(rows) - len(differ),
    )
    verdict = report["verdict"]
    assert (verdict["wins"], verdict["losses"]) == (wins, losses)
    assert verdict["ties"] == len(differ) - wins - losses
