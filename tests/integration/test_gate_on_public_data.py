"""A real trap: a new version with 150 intents is slightly worse on the 45 that the champion knows."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pointsman_models.data import tiers
from pointsman_models.promotion import training_run
from pointsman_models.registry.versions import Registry
from pointsman_shared import errors

DATA = Path(__file__).parents[3] / "shared" / "data" / "tiers" / "planA_train_val.jsonl"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not DATA.exists(), reason=f"the public data is not in {DATA.parent}"),
]
SEARCH = """
[search]
folds = 2
background = [true]
features = [{ words = [1, 2] }]
classifiers = [{ kind = "LinearSVC", c = [1.0] }]
"""


def rows() -> Iterator[dict[str, str]]:
    with DATA.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def write(path: Path, chosen: list[dict[str, str]]) -> None:
    distinct = {" ".join(row["text"].lower().split()): row for row in chosen}
    path.write_text(
        "".join(
            json.dumps({"text": row["text"], "intent": row["intent"]}) + "\n" for row in distinct.values()
        )
    )


def declare(folder: Path, gate: str, *, everything: bool) -> tiers.Tier:
    labelled = [row for row in rows() if row["intent"] != "oos" and (everything or row["tier"] == "base")]
    intents = sorted({row["intent"] for row in labelled})
    write(folder / "known.jsonl", [row for row in rows() if row["intent"] in intents])
    write(folder / "none.jsonl", [row for row in rows() if row["intent"] == "oos"])
    table = (
        f"[tiers.pro]\nintents = {json.dumps(intents)}\n"
        'datasets = ["known.jsonl"]\nout_of_scope = ["none.jsonl"]\n'
    )
    (folder / "tiers.toml").write_text("\n".join([table, SEARCH, gate]), encoding="utf-8")
    return tiers.load(folder)["pro"]


def test_what_the_champion_knows_must_not_get_worse_when_that_is_asked(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "registry"))
    few = declare(tmp_path, "", everything=False)
    assert len(few.intents) == 45
    assert training_run.train(few, registry).promoted
    asking = declare(tmp_path, "[tiers.pro.gate]\nrecall_drop = 0.1\n", everything=True)
    trained = training_run.train(asking, registry)
    assert not trained.promoted
    caught = [reason for reason in trained.reasons if "with the champion" in reason]
    assert caught
    assert all(any(repr(intent) in reason for intent in few.intents) for reason in caught)


def test_clinc150_trains_as_it_was_published(tmp_path: Path) -> None:
    published = DATA.parents[1] / "clinc150" / "train_val.jsonl"
    with published.open(encoding="utf-8") as lines:
        intents = sorted({json.loads(line)["intent"] for line in lines} - {"oos"})
    declared = (
        f'[tiers.clinc]\nintents = {json.dumps(intents)}\ndatasets = ["{published}"]\nout_of_scope_labels = ["oos"]\n'
        f'on_conflict = "error"\n{SEARCH}'
    )
    (tmp_path / "tiers.toml").write_text(declared)
    registry = Registry(str(tmp_path / "registry"))
    with pytest.raises(errors.InvalidDataError, match="on_conflict"):
        training_run.train(tiers.load(tmp_path)["clinc"], registry)
    (tmp_path / "tiers.toml").write_text(declared.replace('"error"', '"drop"'))
    trained = training_run.train(tiers.load(tmp_path)["clinc"], registry)
    assert trained.promoted
    assert len(registry.card("clinc", trained.version).intents) == len(intents) == 150
    assert trained.metrics["macro_f1"] > 0.85
    assert any("two labels" in warning for warning in trained.warnings)
