"""A version's way through the gate: its certificate, its promotion, and working it out again."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from pointsman_models.data import dataset, splits, tiers
from pointsman_models.promotion import decision, judgement, training_run
from pointsman_models.promotion.advice import Advice
from pointsman_models.registry.versions import Registry
from pointsman_shared import errors
from pointsman_shared.data_files import utterances
from tests.support import tier_files

LENIENT = "[tiers.small.gate]\nmargin = 0.6\nrecall_floor = 0.3\n"


class Watcher:
    """A shadow that gives the advice it was made with, and of all other versions says that it has not seen them."""

    def __init__(self, **advice: Advice) -> None:
        self.advice = advice
        self.asked: list[tuple[int, int]] = []

    def advise(self, tier: str, version: int, *, champion: int, options: tiers.GateOptions) -> Advice:
        self.asked.append((version, champion))
        return self.advice.get(f"v{version}", Advice(reason="not compared yet"))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(str(tmp_path / "registry"))


@pytest.fixture
def tier(tmp_path: Path) -> tiers.Tier:
    return tier_files.small_tier(tmp_path, search=LENIENT + tier_files.ONE_FIT)


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the registry of the tier, with a version that serves."""
    folder = tmp_path_factory.mktemp("trained")
    tier = tier_files.small_tier(folder, search=LENIENT + tier_files.ONE_FIT)
    assert training_run.train(tier, Registry(str(folder / "registry"))).promoted
    return folder


@pytest.fixture
def served(tier: tiers.Tier, trained_once: Path, tmp_path: Path) -> tiers.Tier:
    """The tier, with a version that serves."""
    shutil.copytree(trained_once / "registry", tmp_path / "registry")
    return tier


def test_the_certificate_says_on_what_evidence_the_version_serves(
    served: tiers.Tier, registry: Registry
) -> None:
    training_run.train(served, registry, requested_by="schedule")
    certificate = registry.certificate("small", 2)
    assert certificate is not None
    assert (certificate.approved_by, certificate.requested_by, certificate.champion) == (
        "gate",
        "schedule",
        1,
    )
    assert certificate.figures["comparison"]["discordant"] == 0
    assert certificate.gate["margin"] == 0.6
    assert certificate.model_sha256 == registry.card("small", 2).files["model.npz"].sha256
    last = registry.history("small")[-1]
    assert last.evidence["comparison"] == certificate.figures["comparison"]
    assert "at least" in last.why


def test_the_history_says_how_much_a_version_gained(served: tiers.Tier, registry: Registry) -> None:
    training_run.train(served, registry, promote=False)
    issued = registry.certificate("small", 2)
    assert issued is not None
    gained = {"macro_f1": 0.91, "champion_macro_f1": 0.885, "lower_bound": -0.0104}
    better = issued.model_copy(update={"figures": {**issued.figures, "comparison": gained}})
    assert decision.promote(registry, better, registry.aliases("small"), served.gate) == []
    assert registry.history("small")[-1].why.endswith("are right; macro-F1 +0.025, at least -0.010")


def test_a_model_that_was_rolled_back_does_not_come_back_by_itself(
    served: tiers.Tier, registry: Registry
) -> None:
    rows = [(row.text, row.intent) for row in utterances.read(served.datasets[0])]
    tier_files.write_lines(served.datasets[0], [*rows, ("a new greeting", rows[0][1])])
    assert training_run.train(served, registry).promoted
    registry.rollback("small", "olek", "complaints")
    again = training_run.train(served, registry)
    assert not again.promoted
    assert "the same model as version 2, which was rolled back" in again.reasons[0]
    assert registry.champion("small") == 1
    tier_files.write_lines(served.datasets[0], [*rows, ("another new greeting", rows[0][1])])
    assert training_run.train(served, registry).promoted


def test_a_damaged_version_that_was_rolled_back_does_not_keep_the_same_model_from_serving(
    served: tiers.Tier, registry: Registry, tmp_path: Path
) -> None:
    rows = [(row.text, row.intent) for row in utterances.read(served.datasets[0])]
    tier_files.write_lines(served.datasets[0], [*rows, ("a new greeting", rows[0][1])])
    training_run.train(served, registry)
    (tmp_path / "registry" / "small" / "2" / "model.npz").write_bytes(b"torn")
    registry.rollback("small", "olek", "it cannot be loaded")
    assert training_run.train(served, registry).promoted


def test_the_certificate_is_worked_out_again_and_holds(served: tiers.Tier, registry: Registry) -> None:
    assert judgement.verify(served, registry, 1) == []
    training_run.train(served, registry)
    assert judgement.verify(served, registry, 2) == []


def test_a_certificate_with_an_option_that_the_gate_no_longer_has_holds(
    served: tiers.Tier, registry: Registry
) -> None:
    issued = registry.certificate("small", 1)
    assert issued is not None
    registry.certify(issued.model_copy(update={"gate": {**issued.gate, "resamples": 2_000}}))
    assert judgement.verify(served, registry, 1) == []
    registry.certify(issued.model_copy(update={"gate": {**issued.gate, "margin": 0.5}}))
    (different,) = judgement.verify(served, registry, 1)
    assert different.startswith("gate.margin: 0.5 in the certificate, now 0.6")


def test_changed_data_is_named_when_a_certificate_is_worked_out_again(
    served: tiers.Tier, registry: Registry
) -> None:
    rows = [(row.text, row.intent) for row in utterances.read(served.datasets[0])]
    tier_files.write_lines(served.datasets[0], rows[1:])
    different = judgement.verify(served, registry, 1)
    assert any(line.startswith("data: ") and "known.jsonl" in line for line in different)


def test_a_forged_figure_is_named(served: tiers.Tier, registry: Registry) -> None:
    issued = registry.certificate("small", 1)
    assert issued is not None
    registry.certify(issued.model_copy(update={"figures": {**issued.figures, "out_of_scope_recall": 2.0}}))
    (different,) = judgement.verify(served, registry, 1)
    assert different.startswith("figures.out_of_scope_recall: 2.0 in the certificate, now ")


def test_a_version_without_a_certificate_cannot_be_verified(served: tiers.Tier, registry: Registry) -> None:
    card = registry.card("small", 1)
    model, _ = registry.load("small", 1)
    other = registry.save("small", model, card)
    with pytest.raises(errors.RegistryError, match="has no certificate"):
        judgement.verify(served, registry, other.version)


def test_a_champion_that_cannot_be_loaded_is_compared_with_by_its_card(
    served: tiers.Tier, registry: Registry, tmp_path: Path
) -> None:
    (tmp_path / "registry" / "small" / "1" / "model.npz").write_bytes(b"torn")
    trained = training_run.train(served, registry)
    assert trained.promoted
    assert any("was not compared with" in warning for warning in trained.warnings)


@pytest.mark.parametrize(("macro_f1", "promoted"), [(5.0, False), (0.0, True), (None, True)])
def test_a_version_worse_than_the_card_of_a_champion_that_cannot_be_loaded_is_stopped(
    served: tiers.Tier, registry: Registry, tmp_path: Path, macro_f1: float | None, promoted: bool
) -> None:
    folder = tmp_path / "registry" / "small" / "1"
    card = json.loads((folder / "card.json").read_text())
    card["metrics"] = {} if macro_f1 is None else {"macro_f1": macro_f1}
    (folder / "card.json").write_text(json.dumps(card))
    (folder / "model.npz").write_bytes(b"torn")
    trained = training_run.train(served, registry)
    assert trained.promoted == promoted
    assert any("which cannot be loaded, had 5.000" in reason for reason in trained.reasons) != promoted


def test_a_certificate_whose_verdict_no_longer_follows_is_named(
    served: tiers.Tier, registry: Registry
) -> None:
    issued = registry.certificate("small", 1)
    assert issued is not None
    registry.certify(issued.model_copy(update={"reasons": ("it was too slow",)}))
    (different,) = judgement.verify(served, registry, 1)
    assert different == "verdict: was stopped in the certificate, now passed: "


def test_a_promotion_under_another_champion_than_it_was_judged_by_is_a_conflict(
    served: tiers.Tier, registry: Registry
) -> None:
    training_run.train(served, registry, promote=False)
    data, wanted = dataset.assemble(served), ()
    seen = registry.aliases("small")
    certificate = judgement.judge(
        served, registry, registry.card("small", 2), data, wanted, champion=1, requested_by="schedule"
    )
    registry.promote("small", 1, "marge", "by hand")
    with pytest.raises(errors.ConflictError, match="by marge"):
        decision.promote(registry, certificate, seen, served.gate)
    assert registry.champion("small") == 1


LOOKING = Advice(reason="about 40 more labels", watching=True, evidence={"decision": "keep looking"})
APPROVAL = Advice(approves=True, reason="no worse", evidence={"decision": "no worse", "wins": 9})


WATCHED = LENIENT + 'require_shadow = "no worse"\n' + tier_files.ONE_FIT


@pytest.fixture(scope="module")
def watched_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the registry of a tier that requires the shadow's verdict, with a champion and a candidate."""
    folder = tmp_path_factory.mktemp("watched")
    tier, registry = tier_files.small_tier(folder, search=WATCHED), Registry(str(folder / "registry"))
    first = training_run.train(tier, registry, shadow=Watcher())
    assert first.promoted, "without a champion there is no traffic to watch"
    shadow = Watcher()
    second = training_run.train(tier, registry, shadow=shadow)
    assert shadow.asked == [(2, 1)], "there is no other candidate to ask about"
    assert (second.promoted, second.candidate) == (False, True)
    assert second.reasons == ("it passed the gate and is the candidate now; the shadow's verdict is awaited",)
    assert registry.aliases("small").candidate == 2
    return folder


@pytest.fixture
def watched(watched_once: Path, tmp_path: Path) -> tiers.Tier:
    """The tier that requires the shadow's verdict, with a champion and a candidate."""
    shutil.copytree(watched_once / "registry", tmp_path / "registry")
    return tier_files.small_tier(tmp_path, search=WATCHED)


def test_the_candidate_is_promoted_when_the_verdict_came_in_and_the_verdict_is_kept(
    watched: tiers.Tier, registry: Registry
) -> None:
    assert decision.promote_candidate(watched, registry, Watcher(), who="schedule") is None
    shadow = Watcher(v2=APPROVAL)
    assert decision.promote_candidate(watched, registry, shadow, who="schedule") == (2, "no worse")
    assert shadow.asked == [(2, 1)]
    assert (registry.aliases("small").champion, registry.aliases("small").candidate) == (2, None)
    entry, certificate = registry.history("small")[-1], registry.certificate("small", 2)
    assert (entry.who, entry.evidence["shadow"]) == ("schedule", APPROVAL.evidence)
    assert entry.why.endswith("; no worse")
    assert certificate is not None
    assert certificate.shadow == APPROVAL.evidence
    assert judgement.verify(watched, registry, 2) == [], "a verdict is no part of what the data says"


def test_a_candidate_that_labels_come_in_for_is_not_replaced(watched: tiers.Tier, registry: Registry) -> None:
    trained = training_run.train(watched, registry, shadow=Watcher(v2=LOOKING))
    assert trained.reasons == ("it passed the gate, but version 2 stays the candidate: about 40 more labels",)
    assert (trained.candidate, registry.aliases("small").candidate) == (False, 2)
    assert training_run.train(watched, registry, shadow=Watcher()).candidate, "one without labels is replaced"
    assert registry.aliases("small").candidate == 4


def test_a_candidate_that_was_judged_against_another_champion_is_not_promoted(
    watched: tiers.Tier, registry: Registry
) -> None:
    training_run.train(watched, registry, promote=False)
    registry.promote("small", 3, "marge", "by hand")
    assert decision.promote_candidate(watched, registry, Watcher(v2=APPROVAL), who="schedule") is None


def test_rows_from_elsewhere_are_learnt_where_they_agree(tier: tiers.Tier, registry: Registry) -> None:
    def row(text: str, intent: str) -> utterances.Utterance:
        return utterances.Utterance(text=text, intent=intent, source="labels", line=1)

    rows = (
        row("good evening to you", "greeting"),
        row("hello there", "goodbye"),
        row("cheerio", "goodbye"),
        row("Cheerio!", "greeting"),
        row("can i pay", "payment_methods"),
    )
    data = dataset.assemble(tier, [dataset.Source(name="labels", rows=rows)])
    texts = [example.text for example in data.examples]
    assert "good evening to you" in texts
    assert "cheerio" not in texts
    assert next(example.intent for example in data.examples if example.text == "hello there") == "greeting"
    assert data.warnings == (
        "1 rows of labels have an intent that the tier does not declare: left out",
        "3 rows of labels contradict the files or each other: left out",
    )
    assert (data.files[-1].name, data.files[-1].rows) == ("labels", 5)


def drop(path: Path, intent: str, keep: int) -> None:
    rows = [(row.text, row.intent) for row in utterances.read(path)]
    kept = [row for row in rows if row[1] == intent][:keep]
    tier_files.write_lines(path, [row for row in rows if row[1] != intent] + kept)


def test_what_vanished_or_shrank_since_the_champion_is_on_the_card(
    served: tiers.Tier, registry: Registry, tmp_path: Path
) -> None:
    drop(tmp_path / "known.jsonl", "goodbye", 0)
    drop(tmp_path / "known.jsonl", "greeting", 11)
    fewer = dataclasses.replace(served, intents=("greeting", "business_hours"))
    trained = training_run.train(fewer, registry)
    warnings = registry.card("small", trained.version).warnings
    assert "intent 'goodbye', which version 1 answers, has vanished, so the gate will stop it" in warnings
    tested = registry.card("small", 1).per_intent["greeting"].support
    assert any(
        one.startswith("intent 'greeting' has ") and one.endswith(f"version 1 was measured by {tested}")
        for one in warnings
    )
    assert not trained.promoted
    assert any("'goodbye', which the champion answers, is gone" in reason for reason in trained.reasons)


def test_the_rows_of_a_conversation_stay_on_one_side(tier: tiers.Tier, tmp_path: Path) -> None:
    rows = [
        {"text": f"hello number {number}", "intent": "greeting", "conversation_id": number // 5}
        for number in range(60)
    ]
    with (tmp_path / "known.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    data = dataset.assemble(tier)
    sides: dict[str, set[str]] = {}
    for part in ("train", "validation", "test"):
        for conversation in data.part(part).conversations or ():
            if conversation is not None:
                sides.setdefault(conversation, set()).add(part)
    assert set(sides) == {str(number) for number in range(12)}
    assert all(len(parts) == 1 for parts in sides.values())
    assert {part for parts in sides.values() for part in parts} == {"train", "validation", "test"}


def test_a_text_said_in_conversations_on_both_sides_is_no_test(tier: tiers.Tier, tmp_path: Path) -> None:
    where = {splits.part_of("", f"c{number}"): f"c{number}" for number in range(40)}
    with (tmp_path / "known.jsonl").open("a") as file:
        for part in ("test", "train"):
            row = {"text": "how do you do", "intent": "greeting", "conversation_id": where[part]}
            file.write(json.dumps(row) + "\n")
    data = dataset.assemble(tier)
    assert "how do you do" in data.part("train").texts
    assert "how do you do" not in data.part("test").texts
