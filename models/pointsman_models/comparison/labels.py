"""Labelled texts with two models' answers: the input of the verdict and of the accuracies.

It matters why a text was labelled. People who correct wrong answers correct the *served* model's mistakes, never the
candidate's; by such labels alone every candidate looks better. So a label counts only if its text was drawn without
looking at the answers, with a known probability.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPair:
    """One text's two answers and its label.

    A pair stands for one text that was served. A label must not be copied to equal texts: the copies are not
    independent evidence.
    """

    served: str
    candidate: str
    label: str
    """The correct intent, which may be `out_of_scope`."""
    probability: float | None
    """The probability with which the text was drawn for labelling, among the disagreements or among the agreements, in
    (0, 1]; None if a person chose it. All disagreements must be drawn with the same probability, as from a reservoir,
    and be labelled in a random order, or in the order in which they were served."""
    labelled_at: float | None = None
    """Seconds since the epoch."""

    def __post_init__(self) -> None:
        if self.probability is not None and not 0 < self.probability <= 1:
            msg = f"the probability of being drawn is {self.probability}; it must be above 0 and at most 1"
            raise ValueError(msg)

    @property
    def agreed(self) -> bool:
        """Whether both models gave the same intent."""
        return self.served == self.candidate

    @property
    def served_right(self) -> bool:
        """Whether the served model gave the label."""
        return self.served == self.label

    @property
    def candidate_right(self) -> bool:
        """Whether the candidate gave the label."""
        return self.candidate == self.label

    @property
    def score(self) -> int:
        """1 if only the candidate is right (a win), -1 if only the served model is (a loss), else 0."""
        return self.candidate_right - self.served_right


def drawn(pairs: Sequence[LabelledPair], *, agreed: bool) -> list[LabelledPair]:
    """Return the pairs that count: those drawn with a known probability, of the agreements or the disagreements."""
    return [pair for pair in pairs if pair.probability is not None and pair.agreed is agreed]


def shuffled(pairs: Sequence[LabelledPair]) -> list[LabelledPair]:
    """Return the pairs in a random order that is always the same.

    Files are often sorted by intent, and then the first intents would decide before the others are seen.
    """
    order = list(pairs)
    random.Random(0).shuffle(order)
    return order
