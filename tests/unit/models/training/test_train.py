from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from pointsman_models.data import dataset, tiers
from pointsman_models.promotion import training_run
from pointsman_models.registry import model_file
from pointsman_models.registry.versions import Registry
from pointsman_models.training import evaluation, pipelines, search, train
from pointsman_shared import errors, names
from pointsman_shared.data_files import utterances
from tests.support import tier_files, tiny

WORDS = tiers.FeatureOptions(words=(1, 2))


def candidate(*, kind: str = "LinearSVC", background: bool = True) -> pipelines.Candidate:
    return pipelines.Candidate(features=WORDS, kind=kind, c=1.0, background=background)


@pytest.fixture
def tier(tmp_path: Path) -> tiers.Tier:
    return tier_files.small_tier(tmp_path)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(str(tmp_path / "registry"))


def test_training_makes_a_champion_that_answers_its_golden_utterances(
    tier: tiers.Tier, registry: Registry
) -> None:
    trained = training_run.train(tier, registry, requested_by="marge")
    assert (trained.version, trained.promoted, trained.reasons) == (1, True, ())
    assert registry.champion("small") == 1
    assert registry.history("small")[0].who == "marge"
    served = registry.load_classifier("small", 1).classify(["hello there", "where is my parcel"])
    assert served.intent == ["greeting", names.OUT_OF_SCOPE]


def test_the_card_says_what_the_version_is_and_was_made_from(tier: tiers.Tier, registry: Registry) -> None:
    trained = training_run.train(tier, registry, requested_by="marge", promote=False)
    card = registry.card("small", trained.version)
    assert card.requested_by == "marge"
    assert card.intents == ("business_hours", "goodbye", "greeting")
    assert [(file.name, file.rows) for file in card.data] == [("known.jsonl", 72), ("unknown.jsonl", 24)]
    assert sum(card.examples.values()) == 96
    assert card.metrics["golden"] == 2.0
    assert {test.text for test in card.self_test} == {"hello there", "where is my parcel"}
    assert set(card.libraries) == {"python", "scikit-learn", "numpy", "scipy"}


def test_a_version_with_a_wrong_golden_answer_is_kept_but_not_promoted(
    tmp_path: Path, registry: Registry
) -> None:
    tier = tier_files.small_tier(tmp_path, golden=[("hello there", "goodbye"), ("bye now", "goodbye")])
    trained = training_run.train(tier, registry)
    assert not trained.promoted
    assert len(trained.reasons) == 1
    assert trained.reasons[0].startswith("golden utterance 'hello there' (golden.jsonl:1): greeting")
    assert (registry.versions("small"), registry.champion("small")) == ([1], None)


def test_without_promotion_a_trained_version_does_not_serve(tier: tiers.Tier, registry: Registry) -> None:
    trained = training_run.train(tier, registry, promote=False)
    assert (trained.promoted, trained.reasons, registry.champion("small")) == (False, (), None)


def test_the_same_data_gives_the_same_model(tier: tiers.Tier) -> None:
    data = dataset.assemble(tier)
    first, second = (train.fit(data, tier.search, seed=5) for _ in range(2))
    assert (first.candidate, first.temperature, first.threshold) == (
        second.candidate,
        second.temperature,
        second.threshold,
    )
    assert model_file.write(first.model) == model_file.write(second.model)


def test_progress_only_ever_grows_and_ends_at_one(tier: tiers.Tier, registry: Registry) -> None:
    told: list[tuple[str, float]] = []
    training_run.train(tier, registry, progress=lambda stage, fraction: told.append((stage, fraction)))
    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions)
    assert told[0] == ("reading", 0.0)
    assert told[-1] == ("done", 1.0)
    assert {stage for stage, _ in told} >= {"searching", "calibrating", "fitting", "evaluating", "saving"}


def test_a_tier_without_out_of_scope_texts_answers_everything(tmp_path: Path) -> None:
    tier = tier_files.small_tier(tmp_path, out_of_scope=False, golden=[("hi", "greeting")])
    fitted = train.fit(dataset.assemble(tier), tier.search)
    assert fitted.threshold == 0.0
    assert names.OUT_OF_SCOPE not in fitted.model.classes


def test_a_tier_of_one_intent_learns_it_against_the_rest(tmp_path: Path) -> None:
    tier = tier_files.small_tier(tmp_path, ("greeting",))
    fitted = train.fit(dataset.assemble(tier), tier.search)
    assert fitted.model.classes == ("greeting", names.OUT_OF_SCOPE)
    answers = fitted.classifier("small").classify(["hello there", "please cancel my booking"])
    assert answers.intent == ["greeting", names.OUT_OF_SCOPE]


def test_a_search_that_leaves_nothing_to_try_is_refused(tmp_path: Path) -> None:
    search_table = tier_files.SEARCH + "background = [true]\n"
    tier = tier_files.small_tier(tmp_path, out_of_scope=False, search=search_table)
    with pytest.raises(errors.SettingsError, match="leaves nothing to try"):
        train.fit(dataset.assemble(tier), tier.search)


def test_texts_without_words_are_refused(tmp_path: Path) -> None:
    tier = tier_files.small_tier(tmp_path, ("greeting", "goodbye"), out_of_scope=False)
    rows = [("!" * size, "greeting") for size in range(1, 16)] + [
        ("?" * size, "goodbye") for size in range(1, 16)
    ]
    tier_files.write_lines(tier.datasets[0], rows)
    with pytest.raises(errors.InvalidDataError, match="hold no words"):
        train.fit(dataset.assemble(tier), tier.search)


def test_every_text_is_scored_by_models_that_had_not_seen_it() -> None:
    # Each text's label can be known only from the text itself, so an honest score of it is chance at best.
    part = dataset.Part(
        texts=tuple(f"word{number}" for number in range(40)),
        labels=tuple("ab"[number % 2] for number in range(40)),
    )
    found = search.out_of_fold(part, [candidate()], folds=4, seed=1, on_fit=lambda: None)[0]
    gap = np.abs(found.scores[:, 1] - found.scores[:, 0])
    assert gap.max() < 0.01


def test_a_large_part_is_searched_by_a_sample_in_which_each_label_has_its_share_and_no_label_is_missing() -> (
    None
):
    labels = ("a",) * 6_000 + ("b",) * 3_995 + ("c",) * 5
    part = dataset.Part(texts=tuple(f"text {place}" for place in range(10_000)), labels=labels)
    drawn, again, other = (search.sampled(part, 1_000, seed=seed) for seed in (1, 1, 2))
    assert [drawn.labels.count(label) for label in "abc"] == [600, 400, 5]
    assert all(
        part.labels[part.texts.index(text)] == label
        for text, label in zip(drawn.texts, drawn.labels, strict=True)
    )
    assert drawn == again != other
    assert len(set(drawn.texts)) == len(drawn)
    assert search.sampled(part, 10_000, seed=1) is part


def test_only_the_search_is_done_on_a_sample(tier: tiers.Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    whole = search.out_of_fold

    def noting(part: dataset.Part, *args: Any, **options: Any) -> list[search.OutOfFold]:
        sizes.append(len(part))
        return whole(part, *args, **options)

    monkeypatch.setattr(search, "SEARCHED_ROWS", 60)
    monkeypatch.setattr(search, "out_of_fold", noting)
    data = dataset.assemble(tier)
    train.fit(data, tier.search, seed=1)
    known = len(data.part("train", "validation"))
    assert set(sizes[:-1]) == {len(search.sampled(data.part("train"), 60, seed=1))}
    assert sizes[-1] == known > max(sizes[:-1])


def test_without_a_background_class_out_of_scope_texts_are_scored_but_not_learnt() -> None:
    part = dataset.Part(
        texts=("a b", "a c", "d e", "d f", "x y", "x z"),
        labels=("p", "p", "q", "q", *[names.OUT_OF_SCOPE] * 2),
    )
    found = search.out_of_fold(part, [candidate(background=False)], folds=2, seed=1, on_fit=lambda: None)[0]
    assert found.classes == ("p", "q")
    assert found.learnt.tolist() == [True] * 4 + [False] * 2
    assert len(found.answers(1.0).intent) == 6


@pytest.mark.parametrize(
    ("kind", "type_"), [("LinearSVC", LinearSVC), ("LogisticRegression", LogisticRegression)]
)
def test_a_candidate_becomes_the_pipeline_it_describes(kind: str, type_: type) -> None:
    options = tiers.FeatureOptions(words=(1, 1), characters=(2, 4), sublinear=True)
    wanted = pipelines.Candidate(features=options, kind=kind, c=0.3, background=True)
    pipeline = pipelines.make(wanted, seed=3)
    classifier: Any = pipeline.named_steps["classifier"]
    assert classifier.C == 0.3
    assert type(classifier) is type_
    blocks = dict(pipeline.named_steps["features"].transformer_list)
    assert {name: block.ngram_range for name, block in blocks.items()} == {
        "words": (1, 1),
        "characters": (2, 4),
    }
    assert wanted.describe() == f"words 1-1 + characters 2-4, sublinear tf; {kind} C=0.3, out-of-scope class"


def test_one_letter_words_count() -> None:
    features = pipelines.make_features(WORDS).fit(["r u ok"])
    assert {"r", "u"} <= set(features.vocabulary_)


def test_the_gate_names_each_wrong_answer_and_nothing_else() -> None:
    golden = [
        utterances.Utterance(text=text, intent=intent, source="golden.jsonl", line=line)
        for line, (text, intent) in enumerate(
            [("hello there", "greeting"), ("see you later", "greeting")], start=1
        )
    ]
    reasons = evaluation.golden_failures(tiny.make_classifier(), golden)
    assert len(reasons) == 1
    assert "'see you later' (golden.jsonl:2): goodbye" in reasons[0]
    assert evaluation.golden_failures(tiny.make_classifier(), []) == []
