from pointsman_models import leakage

TRAIN = ["when do you open on sunday morning", "can i pay with my credit card here", "hi"]


def test_a_text_that_differs_by_a_letter_is_a_near_copy() -> None:
    found = leakage.near_copies(
        ["when do you open on sundays morning", "Can I pay with my credit card here?"], TRAIN
    )
    assert found.tolist() == [True, True]


def test_another_text_about_the_same_is_none() -> None:
    asked = ["are you open on sunday", "can i pay cash", "hi there", "", "%%%%"]
    assert leakage.near_copies(asked, TRAIN).tolist() == [False] * 5


def test_nothing_to_compare_is_no_near_copy() -> None:
    assert leakage.near_copies([], TRAIN).tolist() == []
    assert leakage.near_copies(["hi"], []).tolist() == [False]
