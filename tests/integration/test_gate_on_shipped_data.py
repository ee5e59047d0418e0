"""The gate on the data that ships: what is as good gets through, what is worse does not."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pointsman_models.data import tiers
from pointsman_models.promotion import training_run
from pointsman_models.registry.versions import Registry
from pointsman_shared.data_files import utterances
from tests.support import tier_files

SHIPPED = Path(__file__).parents[2] / "data"
SEARCH = """
[search]
folds = 2
background = [true]
features = [{ words = [1, 2], characters = [2, 5], sublinear = true }]
classifiers = [{ kind = "LinearSVC", c = [1.0] }]
"""
GATE = "[gate]\nmargin = 0.02\nrecall_drop = 0.2\nout_of_scope_recall = 0.5\ncalibration_error = 0.15\nlatency_ms = 50.0\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The shipped data in a folder that may be changed, with a short search and a strict gate."""
    folder = tmp_path / "data"
    shutil.copytree(SHIPPED, folder)
    declared = (folder / "tiers.toml").read_text().partition("# What a training tries")[0]
    (folder / "tiers.toml").write_text(declared + SEARCH + GATE)
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(str(tmp_path / "registry"))


def train(folder: Path, registry: Registry) -> training_run.TrainedVersion:
    return training_run.train(tiers.load(folder)["base"], registry)


def add_data(folder: Path) -> None:
    """New rows arrive, as good as the old ones."""
    path = folder / "utterances" / "greeting.jsonl"
    rows = [(row.text, row.intent) for row in utterances.read(path)]
    tier_files.write_lines(
        path, [*rows, *((f"hello from team {number}", "greeting") for number in range(40))]
    )


def shuffle_labels(folder: Path) -> None:
    """The labels of one intent are shuffled, as by a broken export."""
    path = folder / "utterances" / "goodbye.jsonl"
    chooser = random.Random(5)
    intents = ["greeting", "goodbye", "business_hours"]
    rows = [(row.text, chooser.choice(intents)) for row in utterances.read(path)]
    tier_files.write_lines(path, rows)


def break_golden(folder: Path) -> None:
    """The golden utterances ask for answers that the data does not give."""
    with (folder / "golden.jsonl").open("a") as file:
        for text in ("hello", "good morning"):
            file.write(json.dumps({"text": text, "intent": "goodbye", "tiers": ["base"]}) + "\n")


def test_new_data_that_is_as_good_is_promoted(folder: Path, registry: Registry) -> None:
    assert train(folder, registry).reasons == ()
    add_data(folder)
    assert train(folder, registry).reasons == ()
    assert registry.champion("base") == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("worsen", "reason"),
    [
        (shuffle_labels, "macro-F1 "),
        (shuffle_labels, "recall of 'goodbye'"),
        (break_golden, "golden utterance"),
    ],
)
def test_a_worse_dataset_is_stopped_with_its_reasons_and_the_champion_serves_on(
    folder: Path, registry: Registry, worsen: Callable[[Path], None], reason: str
) -> None:
    train(folder, registry)
    worsen(folder)
    trained = train(folder, registry)
    assert not trained.promoted
    assert any(one.startswith(reason) for one in trained.reasons), trained.reasons
    certificate = registry.certificate("base", 2)
    assert certificate is not None
    assert (certificate.approved_by, certificate.reasons) == (None, trained.reasons)
    assert registry.champion("base") == 1
    assert registry.load_classifier("base", 1).classify(["hello"]).intent == ["greeting"]
