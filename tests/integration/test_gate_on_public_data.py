"""A real trap: a tier of 150 intents that is slightly worse on the 45 that another tier knows."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pointsman_models.data import dataset, tiers
from pointsman_models.promotion import decision
from pointsman_models.registry.versions import Registry
from pointsman_models.training import train

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


def declare(folder: Path, gate: str) -> dict[str, tiers.Tier]:
    labelled = [row for row in rows() if row["intent"] != "oos"]
    everything = sorted({row["intent"] for row in labelled})
    few = sorted({row["intent"] for row in labelled if row["tier"] == "base"})
    write(folder / "pro.jsonl", labelled)
    write(folder / "base.jsonl", [row for row in labelled if row["intent"] in few])
    write(folder / "none.jsonl", [row for row in rows() if row["intent"] == "oos"])
    tables = [
        f'[tiers.{name}]\nintents = {json.dumps(intents)}\ndatasets = ["{name}.jsonl"]\nout_of_scope = ["none.jsonl"]\n'
        for name, intents in (("base", few), ("pro", everything))
    ]
    (folder / "tiers.toml").write_text("\n".join([*tables, SEARCH, gate]), encoding="utf-8")
    return tiers.load(folder)


def test_what_another_tier_knows_must_not_get_worse_when_that_is_asked(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "registry"))
    trusting = declare(tmp_path, "")
    assert len(trusting["base"].intents) == 45
    assert train.train(trusting["base"], registry).promoted
    assert train.train(trusting["pro"], registry).promoted, "without a floor, nothing is seen"
    asking = declare(tmp_path, '[tiers.pro.gate]\nreference = "base"\nrecall_drop = 0.1\n')["pro"]
    card, data = registry.card("pro", 1), dataset.assemble(asking)
    certificate, _ = decision.hold(asking, registry, card, data, (), requested_by="tests")
    assert certificate.approved_by is None
    caught = [reason for reason in certificate.reasons if "with tier base" in reason]
    assert caught
    assert all(any(repr(intent) in reason for intent in trusting["base"].intents) for reason in caught)
