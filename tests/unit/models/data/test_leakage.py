import random
from pathlib import Path

import pytest

from pointsman_models.data import dataset, leakage, splits
from pointsman_shared.data_files import utterances
from tests.support import tier_files

TRAIN = ["when do you open on sunday morning", "can i pay with my credit card here", "hi"]


def test_a_text_that_differs_by_a_letter_is_a_near_copy() -> None:
    found = leakage.nearest_copies(
        ["when do you open on sundays morning", "Can I pay with my credit card here?"], TRAIN
    )
    assert found.tolist() == [0, 1]


def test_the_nearest_of_several_copies_is_named() -> None:
    train = ["when do you open on sundays mornings", *TRAIN, "when do you open on sunday mornin"]
    assert leakage.nearest_copies(["when do you open on sunday morning"], train).tolist() == [1]


def test_another_text_about_the_same_is_none() -> None:
    asked = ["are you open on sunday", "can i pay cash", "hi there", "", "%%%%"]
    assert leakage.nearest_copies(asked, TRAIN).tolist() == [-1] * 5


def jaccard(one: str, other: str) -> float:
    """Compare two texts as the definition says, trigram by trigram."""
    sets = []
    for text in (one, other):
        words = [f" {word} " for word in splits.normalise(text).split()]
        sets.append({word[at : at + 3] for word in words for at in range(max(1, len(word) - 2))})
    union = sets[0] | sets[1]
    return len(sets[0] & sets[1]) / len(union) if union else 0.0


@pytest.mark.parametrize("seed", range(3))
def test_every_near_copy_is_found_and_no_other_text(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(leakage, "LOOKED_AT", 1_000)
    monkeypatch.setattr(leakage, "COMPARED", 7)
    chance = random.Random(seed)
    words = ["".join(chance.choices("abcde", k=chance.randint(1, 6))) for _ in range(40)]

    def text() -> str:
        return " ".join(chance.choices(words, k=chance.randint(1, 9)))

    def typo(text: str) -> str:
        at = chance.randrange(len(text))
        return text[:at] + chance.choice("abcde ") + text[at + 1 :]

    train = [text() for _ in range(150)]
    test = [typo(chance.choice(train)) for _ in range(60)] + [text() for _ in range(60)]
    found = leakage.nearest_copies(test, train).tolist()
    for asked, place in zip(test, found, strict=True):
        best = max(jaccard(asked, other) for other in train)
        assert (place >= 0) == (best >= leakage.NEAR)
        if place >= 0:
            assert jaccard(asked, train[place]) == pytest.approx(best)


def test_nothing_to_compare_is_no_near_copy() -> None:
    assert leakage.nearest_copies([], TRAIN).tolist() == []
    assert leakage.nearest_copies(["hi"], []).tolist() == [-1]


def test_near_copies_are_counted_and_named_and_so_are_those_with_another_label(tmp_path: Path) -> None:
    tier = tier_files.small_tier(tmp_path)
    before = dataset.assemble(tier).part("test")
    longest = sorted(zip(before.texts, before.labels, strict=True), key=lambda row: -len(row[0]))[:2]
    copies = []
    for (text, intent), label in zip(longest, ("greeting", None), strict=True):
        spelt = next(text + c for c in "abcdefgh" if splits.part_of(text + c) == "train")
        copies.append((spelt, label or intent))
    rows = [(row.text, row.intent) for row in utterances.read(tier.datasets[0])]
    tier_files.write_lines(tier.datasets[0], [*rows, *copies])
    leaks = leakage.look(dataset.assemble(tier))
    everything, contrary = leaks.warnings
    assert leaks.near.sum() == 2
    assert everything.startswith(
        f"2 of {len(before)} test rows have near copies in training and judge nothing: "
    )
    assert contrary.startswith("1 of them are labelled otherwise there")
    assert f"(like known.jsonl:{len(rows) + 1})" in contrary


def test_a_near_copy_of_the_very_first_row_is_counted(tmp_path: Path) -> None:
    tier = tier_files.small_tier(tmp_path)
    before = dataset.assemble(tier).part("test")
    text, intent = max(zip(before.texts, before.labels, strict=True), key=lambda row: len(row[0]))
    copy = next(text + c for c in "abcdefgh" if splits.part_of(text + c) == "train")
    rows = [(row.text, row.intent) for row in utterances.read(tier.datasets[0])]
    tier_files.write_lines(tier.datasets[0], [(copy, intent), *rows])
    leaks = leakage.look(dataset.assemble(tier))
    assert leaks.near.sum() == 1
    (warning,) = leaks.warnings
    assert warning.startswith(f"1 of {len(before)} test rows")
    assert "(like known.jsonl:1)" in warning
