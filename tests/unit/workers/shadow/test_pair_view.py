"""The view of a file's texts, of which nothing is stored."""

import pytest

from pointsman_models.comparison import counts
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


def sampled(agreed: int, differing: int, **samples: list[str]) -> PairView:
    """Make a view of stored comparisons, of which some texts were sampled."""
    served = ["pay"] * (agreed + differing)
    candidate = ["pay"] * agreed + ["bye"] * differing
    found = counts.observe(
        counts.Answered(intent=served), counts.Answered(intent=candidate), day="2026-11-27"
    )
    rows = {
        job: {"text": job, "served": "pay", "candidate": "bye"} for jobs in samples.values() for job in jobs
    }
    return PairView(served="a", candidate="b", found=found, rows=rows, samples=samples)  # type: ignore[arg-type]  # the kinds


def test_a_text_is_drawn_with_the_sampled_share_of_the_texts_of_its_kind() -> None:
    view = sampled(agreed=8, differing=4, disagreements=["d1", "d2", "d3"], agreements=["a1", "a2"])
    assert (view.probability("disagreements"), view.probability("agreements")) == (3 / 4, 2 / 8)
    assert not view.is_file
    nothing = sampled(agreed=0, differing=2, disagreements=["d1", "d2"], agreements=[])
    assert (nothing.probability("disagreements"), nothing.probability("agreements")) == (1.0, 1.0)


def test_disagreements_are_labelled_before_agreements_and_at_most_so_many() -> None:
    view = sampled(agreed=8, differing=4, disagreements=["d1", "d2"], agreements=["a1", "a2"])
    assert [row["job_id"] for row in view.to_label(3)] == ["d1", "d2", "a1"]
    assert [row["agreed"] for row in view.to_label(9)] == [False, False, True, True]
