"""The report on a pair of models, as a worker computes it and a command or a page shows it.

Everything that takes statistics is in here already, so that whoever shows a report needs none. Shares and accuracies
are in [0, 1]; intervals are at 95% and for one look, except where a field says that they hold at all times.
"""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from pointsman_shared import errors
from pointsman_shared.wire import jobs

Decision = Literal["better", "no worse", "worse", "keep looking"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)


class Interval(_Part):
    """An estimate and the interval around it."""

    value: float
    low: float
    high: float


class Rate(_Part):
    """On how many of some texts the models agreed, with a Wilson interval."""

    agreed: int
    texts: int
    value: float
    low: float
    high: float


class ChiSquared(_Part):
    """The result of a chi-squared test."""

    statistic: float
    degrees: int
    p_value: float
    sparse: bool
    """Whether most moves are so rare that the p-value is a rough one."""


class Flow(_Part):
    """The texts that the served model gave one intent and the candidate another."""

    served: str
    candidate: str
    texts: int
    share_of_served: float
    """Of the texts to which the served model gave that intent."""


class IntentFigures(_Part):
    """How often both models gave an intent."""

    intent: str
    served: int
    candidate: int
    agreement: Rate | None
    """Of the texts to which the served model gave it; None if there are none."""


class Day(_Part):
    """The texts of one day."""

    day: str
    agreement: Rate | None
    missed: int
    """Sampled texts that were not compared."""


class AttributeValue(_Part):
    """The texts of the users with one value of an attribute, such as a plan or a language."""

    attribute: str
    value: str
    agreement: Rate


class Confidence(_Part):
    """How sure the models were."""

    served_mean: float | None
    candidate_mean: float | None
    shift: Interval | None
    """The mean of the candidate's confidence minus the served model's, text by text."""
    served_histogram: list[int]
    """Texts in bins of equal width over [0, 1]."""
    candidate_histogram: list[int]


class Latency(_Part):
    """How long the models took for a text."""

    served_mean_ms: float | None
    candidate_mean_ms: float | None
    ratio: float | None
    """The candidate's mean over the served model's."""
    edges_ms: list[float]
    """The limits between the histograms' bins; the first and the last bin are open."""
    served_histogram: list[int]
    """Texts by the mean time of the message they came in."""
    candidate_histogram: list[int]


class Missed(_Part):
    """The sampled texts that were not compared, and how far that can have biased what was."""

    texts: int
    share: float
    """Of all sampled texts."""
    shed: dict[str, int]
    """Left out under pressure, by reason."""
    failed: dict[str, int]
    """Not answered by the candidate, by reason."""
    agreement_low: float | None
    """The agreement on all sampled texts if the models differ on every missed one."""
    agreement_high: float | None
    """The same if they agree on every missed one. The truth is between the two, whatever was missed."""
    agreement_reweighted: float | None
    """The agreement if missed texts are like compared ones of the same served intent."""
    intent_distance: float | None
    """By how much the served intents of missed and compared texts differ: 0 not at all, 1 altogether (total
    variation). Of a few texts it is above 0 by chance."""


class Statement(_Part):
    """The evidence for one of the three statements a verdict can make."""

    log_e: float
    """The natural logarithm of the evidence (e-value) after the last label."""
    highest_log_e: float
    """The highest it ever was: the statement is made once this reaches the threshold."""
    threshold_log_e: float
    error_rate: float
    """The probability of ever making the statement while it is false is at most this, however often one looks."""
    made_after: int | None
    """How many labelled disagreements it took; 0 where none were needed, None while the evidence is not enough."""
    further: int | None
    """About how many more labelled disagreements it needs if they fall as they have; None if made or not in sight."""


class Point(_Part):
    """The evidence (natural logarithms) after some of the labels."""

    labels: int
    labelled_at: float | None
    better: float
    worse: float
    no_worse: float


class Verdict(_Part):
    """Whether the candidate is more accurate, as far as labelled disagreements tell."""

    decision: Decision
    alpha: float
    """The probability that the decision is ever a false one is at most this."""
    margin: float
    """`no worse` means that at most this much accuracy is lost."""
    wins: int
    """Labelled disagreements on which only the candidate was right."""
    ties: int
    """On which neither was."""
    losses: int
    """On which only the served model was."""
    win_share: Interval
    """Wins of wins and losses; the interval holds at all times with probability `1 - alpha`."""
    disagreement_bound: float
    """The models disagree on a smaller share of the traffic than this."""
    better: Statement
    worse: Statement
    no_worse: Statement
    contradictory: bool
    """Whether there was evidence enough for better and for worse: the traffic or the labelling has changed."""
    further: int | None
    """About how many more labelled disagreements a decision needs; None if there is one, or none is in sight."""
    mcnemar_p: float
    """The exact McNemar test, for readers who planned to look once."""
    trajectory: list[Point]


class Accuracy(_Part):
    """Both models' accuracy on the compared texts, estimated from the labels."""

    served: Interval | None
    """None as long as there are no labels of agreements."""
    candidate: Interval | None
    difference: Interval | None
    """The candidate's minus the served model's; it needs labels of disagreements only."""
    labelled_agreements: int
    labelled_disagreements: int
    set_aside: int
    """Labels of texts that were not drawn at random; they count for nothing here."""


class Disagreement(_Part):
    """One of the texts on which the models disagreed, from a fair sample of them."""

    job_id: str
    text: str | None
    """Masked by the redactor; None where texts are not kept."""
    served: str
    candidate: str
    served_confidence: float | None = None
    candidate_confidence: float | None = None
    label: str | None = None


class ShadowReport(_Part):
    """All there is to say of a served model and its candidate on the same texts."""

    served: str
    """As `pro@7`: a tier and its version."""
    candidate: str
    agreement: Rate | None
    """None of no texts; so are the figures below."""
    kappa: Interval | None
    """Cohen's: the agreement beyond that of chance."""
    homogeneity: ChiSquared | None
    """Stuart and Maxwell: whether both give each intent equally often. None if they never disagree."""
    symmetry: ChiSquared | None
    """Bowker: whether as many texts move from each intent to each other one as back."""
    flows: list[Flow]
    """The most frequent disagreements, in falling order."""
    flows_left_out: int
    """Texts in rarer disagreements that are not listed."""
    intents: list[IntentFigures]
    days: list[Day]
    attributes: list[AttributeValue]
    confidence: Confidence
    latency: Latency
    missed: Missed
    accuracy: Accuracy | None
    """None as long as nothing was labelled; so is the verdict, unless the models hardly ever disagree."""
    verdict: Verdict | None
    disagreements: list[Disagreement]
    warnings: list[str]
    """What a reader should know before believing the rest, a sentence each."""

    @property
    def pair(self) -> str:
        """Name the pair, as `pro@7 vs base@4`."""
        return f"{self.served} vs {self.candidate}"

    @classmethod
    def parse(cls, payload: object) -> Self:
        """Read a report that a worker sent.

        Raises:
            InvalidMessageError: It does not follow the schema.
        """
        try:
            return cls.model_validate(payload)
        except ValidationError as error:
            raise errors.InvalidMessageError(jobs.describe(error)) from None
