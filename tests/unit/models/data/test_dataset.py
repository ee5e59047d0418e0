import dataclasses
import hashlib
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman_models.data import dataset, golden, splits, tiers
from pointsman_shared import errors, names
from pointsman_shared.data_files import rows as formats
from pointsman_shared.data_files import utterances
from tests.support import tier_files

SHIPPED = Path(__file__).parents[4] / "data"


def refusal(tier: tiers.Tier) -> list[str]:
    with pytest.raises(errors.InvalidDataError) as caught:
        dataset.assemble(tier)
    return str(caught.value).splitlines()


def append(path: Path, *rows: tuple[str, str]) -> None:
    old = [(row.text, row.intent) for row in utterances.read(path)]
    tier_files.write_lines(path, [*old, *rows])


def test_every_row_of_an_out_of_scope_file_is_out_of_scope_whatever_its_label(tmp_path: Path) -> None:
    found = dataset.assemble(tier_files.small_tier(tmp_path))
    counts = Counter(example.intent for example in found.examples)
    assert counts == {"greeting": 24, "goodbye": 24, "business_hours": 24, names.OUT_OF_SCOPE: 24}
    assert found.has_out_of_scope
    assert found.warnings == ()


def test_more_rows_in_all_files_than_memory_may_hold_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file of 72 rows, and one of 24.
    monkeypatch.setattr(formats, "MAX_ROWS", 80)
    assert refusal(tier_files.small_tier(tmp_path)) == [
        "tier 'small': has more than 80 rows of data: use a part of them"
    ]


def test_a_row_labelled_out_of_scope_may_stand_in_any_file(tmp_path: Path) -> None:
    tier = tier_files.small_tier(tmp_path)
    append(tier.datasets[0], ("what is the score", names.OUT_OF_SCOPE))
    assert dataset.assemble(tier).examples[-25].intent == names.OUT_OF_SCOPE


def test_the_facts_of_a_file_are_its_digest_and_rows(tmp_path: Path) -> None:
    tier = tier_files.small_tier(tmp_path)
    known = dataset.assemble(tier).files[0]
    digest = hashlib.sha256(tier.datasets[0].read_bytes()).hexdigest()
    assert known == dataset.FileFacts(name="known.jsonl", sha256=digest, rows=72)


def test_duplicates_but_for_case_punctuation_and_spaces_are_left_out_with_a_warning(tmp_path: Path) -> None:
    tier = tier_files.small_tier(tmp_path)
    append(tier.datasets[0], ("  HELLO,   there!! ", "greeting"))
    found = dataset.assemble(tier)
    assert len(found.examples) == 96
    assert found.warnings == ("1 duplicate rows were left out: known.jsonl:73 (as known.jsonl:8)",)


def test_one_text_with_two_labels_is_refused_with_both_lines(tmp_path: Path) -> None:
    tier = tier_files.small_tier(tmp_path)
    append(tier.datasets[0], ("Hello there?", "goodbye"))
    assert refusal(tier) == [
        "known.jsonl:73: labelled 'goodbye', but the same text at known.jsonl:8 is 'greeting'; "
        'on_conflict = "drop" in tiers.toml leaves both out'
    ]


def test_a_tier_may_leave_out_all_rows_of_a_text_with_two_labels(tmp_path: Path) -> None:
    tier = dataclasses.replace(tier_files.small_tier(tmp_path), on_conflict="drop")
    append(tier.datasets[0], ("Hello there?", "goodbye"))
    found = dataset.assemble(tier)
    assert len(found.examples) == 95
    assert "hello there" not in {example.text for example in found.examples}
    assert found.warnings == ("2 rows of texts with two labels were left out: known.jsonl:8, known.jsonl:73",)


def test_a_tier_may_name_labels_that_mean_out_of_scope(tmp_path: Path) -> None:
    plain = tier_files.small_tier(tmp_path)
    append(plain.datasets[0], ("what is the meaning of life", "oos"))
    with pytest.raises(errors.InvalidDataError, match="intent 'oos' is not declared"):
        dataset.assemble(plain)
    found = dataset.assemble(dataclasses.replace(plain, out_of_scope_labels=("oos",)))
    assert {row.intent for row in found.examples if "meaning" in row.text} == {names.OUT_OF_SCOPE}


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    tier = tier_files.small_tier(tmp_path, ("greeting", "goodbye", "business_hours"))
    rows = [(text, "greeting") for text in tier_files.texts("greeting")]
    rows += [
        ("ciao", "goodbye"),
        ("adieu", "goodbye"),
        ("ciao!", "greeting"),
        ("pay by card", "payment_methods"),
    ]
    tier_files.write_lines(tier.datasets[0], rows)
    assert refusal(tier) == [
        "known.jsonl:28: intent 'payment_methods' is not declared for the tier 'small'",
        "known.jsonl:27: labelled 'greeting', but the same text at known.jsonl:25 is 'goodbye'; "
        'on_conflict = "drop" in tiers.toml leaves both out',
        "tier 'small': intent 'goodbye' has 2 different examples; 10 are needed",
        "tier 'small': intent 'business_hours' is declared but has no example",
    ]


@pytest.mark.parametrize(("trained", "refused"), [(1, True), (2, False)])
def test_an_intent_needs_two_examples_to_train_on(tmp_path: Path, trained: int, refused: bool) -> None:
    tier = tier_files.small_tier(tmp_path, ("greeting", "goodbye"))
    spellings = [f"bye number {number}" for number in range(200)]
    parts = {
        part: [text for text in spellings if splits.part_of(text) == part]
        for part in ("train", "validation", "test")
    }
    chosen = parts["train"][:trained] + parts["validation"][:5] + parts["test"][:5]
    greetings = [(text, "greeting") for text in tier_files.texts("greeting")]
    tier_files.write_lines(tier.datasets[0], [*greetings, *((text, "goodbye") for text in chosen)])
    if refused:
        assert refusal(tier) == [
            "tier 'small': intent 'goodbye' has too few examples to train on; add some more"
        ]
    else:
        assert dataset.assemble(tier).intents == ("greeting", "goodbye")


def test_bad_rows_of_all_files_are_named_together(tmp_path: Path) -> None:
    tier = tier_files.small_tier(tmp_path)
    for path in (*tier.datasets, *tier.out_of_scope):
        path.write_text("no json\n", encoding="utf-8")
    assert refusal(tier) == ["known.jsonl:1: is not JSON", "unknown.jsonl:1: is not JSON"]


def test_a_single_intent_needs_texts_out_of_scope(tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    alone = tier_files.small_tier(tmp_path / "alone", ("greeting",), out_of_scope=False)
    assert "has one intent only" in refusal(alone)[0]
    assert dataset.assemble(tier_files.small_tier(tmp_path, ("greeting",))).intents == ("greeting",)


def test_the_parts_are_disjoint_complete_and_about_70_15_15() -> None:
    shares = Counter(splits.part_of(f"text number {number}") for number in range(10_000))
    assert shares["train"] == pytest.approx(7_000, abs=150)
    assert shares["validation"] == pytest.approx(1_500, abs=150)
    assert shares.total() == 10_000


@pytest.mark.parametrize(
    ("spellings", "part"),
    [
        (("hi", "HI!", " hi "), "train"),
        (("hello team", "Hello,  team."), "validation"),
        (("thank you very much", "Thank you, very much!!"), "test"),
    ],
)
def test_a_text_never_changes_sides(spellings: tuple[str, ...], part: str) -> None:
    # Literal expectations: another hash would let the test rows of older versions leak into training.
    assert {splits.part_of(text) for text in spellings} == {part}


def test_more_rows_move_no_old_row(tmp_path: Path) -> None:
    tier = tier_files.small_tier(tmp_path)
    before = dataset.assemble(tier).part("test")
    append(tier.datasets[0], *[(f"good day number {number}", "greeting") for number in range(50)])
    after = dataset.assemble(tier).part("test")
    assert set(before.texts) <= set(after.texts)


@given(st.text())
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    once = splits.normalise(text)
    assert splits.normalise(once) == once


def test_texts_without_words_stay_different_texts() -> None:
    assert splits.normalise("???") == "???"
    assert splits.normalise("👍") != splits.normalise("👎")


def test_a_tier_without_a_golden_file_has_no_golden_utterances(tmp_path: Path) -> None:
    tier = dataclasses.replace(tier_files.small_tier(tmp_path), golden=None)
    assert golden.read(tier) == []


def test_golden_utterances_count_for_the_tiers_they_name(tmp_path: Path) -> None:
    tier = tier_files.small_tier(tmp_path)
    assert tier.golden
    tier.golden.write_text(
        '{"text": "hi", "intent": "greeting"}\n'
        '{"text": "visa?", "intent": "payment_methods", "tiers": ["pro"]}\n'
        '{"text": "visa?", "intent": "out_of_scope", "tiers": ["small"]}\n',
        encoding="utf-8",
    )
    assert [(row.text, row.intent, row.line) for row in golden.read(tier)] == [
        ("hi", "greeting", 1),
        ("visa?", names.OUT_OF_SCOPE, 3),
    ]


def test_a_golden_answer_the_tier_cannot_give_is_refused(tmp_path: Path) -> None:
    tier = tier_files.small_tier(tmp_path, golden=[("visa?", "payment_methods")])
    with pytest.raises(errors.InvalidDataError, match=r"golden.jsonl:1: intent 'payment_methods'"):
        golden.read(tier)


def test_golden_tiers_that_are_no_list_are_refused(tmp_path: Path) -> None:
    tier = tier_files.small_tier(tmp_path)
    assert tier.golden
    tier.golden.write_text('{"text": "hi", "intent": "greeting", "tiers": "small"}\n', encoding="utf-8")
    with pytest.raises(errors.InvalidDataError, match="tiers is not a list"):
        golden.read(tier)


@pytest.mark.parametrize("name", ["base", "pro"])
def test_the_shipped_data_can_be_trained_on(name: str) -> None:
    tier = tiers.load(SHIPPED)[name]
    assert dataset.assemble(tier).intents == tier.intents
    assert golden.read(tier)
