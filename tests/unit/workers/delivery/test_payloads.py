"""What is read of a task's argument before anything has checked it."""

import pytest

from pointsman_workers.delivery import payloads


@pytest.mark.parametrize(
    ("args", "kwargs", "found"),
    [((1,), {}, 1), ((), {"request": 2}, 2), ((), {}, None), ((1,), {"request": 2}, 1)],
)
def test_the_argument_is_found_by_place_and_by_name(
    args: tuple[int, ...], kwargs: dict[str, int], found: int | None
) -> None:
    assert payloads.argument(args, kwargs) == found


@pytest.mark.parametrize(
    ("payload", "batch", "texts"),
    [
        ({"batch": "b", "texts": ["hi", "bye"]}, "b", 2),
        ({"batch": "", "texts": []}, None, 0),
        ({"batch": 7, "texts": "hi"}, None, 0),
        ({}, None, 0),
        (None, None, 0),
        (["batch"], None, 0),
    ],
)
def test_the_batch_and_the_number_of_texts_are_read_of_anything(
    payload: object, batch: str | None, texts: int
) -> None:
    assert (payloads.batch(payload), payloads.texts(payload)) == (batch, texts)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"texts": ["a secret"]}, "(1 text)"),
        ({"texts": ["a secret", "another"], "batch": "b"}, "(2 texts, batch b)"),
        ({"tier": "base"}, "(tier base)"),
        ({"tier": "x" * 200}, f"(tier {'x' * 200})"),
        ({"tier": "x" * 201}, "(...)"),
        ({"tier": 7}, "(...)"),
        ("a secret", "(...)"),
        (None, "(...)"),
    ],
)
def test_a_payload_is_described_without_its_texts(payload: object, said: str) -> None:
    assert payloads.summary(payload) == said
