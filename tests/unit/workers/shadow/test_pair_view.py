"""The view of a file's texts, of which nothing is stored."""

import pytest

from pointsman_shared import errors
from pointsman_shared.wire import shadow
from pointsman_workers.shadow.pair_view import PairView


def answers(*served: str, labels: list[str | None] | None = None) -> shadow.Answers:
    side = shadow.Side(intent=list(served))
    return shadow.Answers(served=side, candidate=shadow.Side(intent=["pay", "bye"]), labels=labels)


def test_texts_without_a_label_are_compared_all_the_same() -> None:
    view = PairView.of_answers([answers("pay", "pay", labels=["pay", None])], "a", "b")
    assert (view.found.texts, view.found.agreed) == (2, 1)
    (pair,) = view.labelled()
    assert (pair.served, pair.candidate, pair.label) == ("pay", "pay", "pay")


@pytest.mark.parametrize("part", [answers("pay"), answers("pay", "bye", labels=["pay"])])
def test_columns_of_different_lengths_are_refused(part: shadow.Answers) -> None:
    with pytest.raises(errors.InvalidMessageError, match="not columns of one length"):
        PairView.of_answers([part], "a", "b")
