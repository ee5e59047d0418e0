"""The report on a pair of models, as a worker computes it and a command or a page shows it.

It contains all results of statistics, so that showing it needs none. Shares and accuracies are in [0, 1]; intervals are
at 95% and for one look, except where a field says that they hold at all times.
"""

from typing import Literal

from pydantic import ConfigDict

from pointsman_shared.wire import jobs

Decision = Literal["better", "no worse", "worse", "keep looking"]


class _Part(jobs.Wire):
    model_config = ConfigDict(from_attributes=True)


class Interval(_Part):
    """An estimate and the interval around it."""

    value: float
    low: float
    high: float


class Rate(_Part):
    """The share of texts on which the models agree, with a Wilson interval."""

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
    """Whether most moves are so rare that the p-value is only approximate."""


class Flow(_Part):
    """The texts that the served model gave one intent and the candidate another."""

    served: str
    candidate: str
    texts: int
    share_of_served: float
    """Among the texts to which the served model gave that intent."""


class IntentFigures(_Part):
    """How often both models gave an intent."""

    intent: str
    served: int
    candidate: int
    agreement: Rate | None
    """Among the texts to which the served model gave it; None if there are none."""


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
    """The confidence of the models."""

    served_mean: float | None
    candidate_mean: float | None
    shift: Interval | None
    """The mean of the candidate's confidence minus the served model's, text by text."""
    served_histogram: list[int]
    """Texts in bins of equal width over [0, 1]."""
    candidate_histogram: list[int]


class Latency(_Part):
    """The time of the models for a text."""

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
    """The sampled texts that were not compared, and how much that can bias the comparison."""

    texts: int
    share: float
    """Among all sampled texts."""
    shed: dict[str, int]
    """Left out under pressure, by reason."""
    failed: dict[str, int]
    """Not answered by the candidate, by reason."""
    agreement_low: float | None
    """The agreement on all sampled texts if the models differ on every missed one."""
    agreement_high: float | None
    """The same if they agree on every missed one. The truth lies between the two."""
    agreement_reweighted: float | None
    """The agreement if missed texts resemble compared ones of the same served intent."""
    intent_distance: float | None
    """How much the served intents of missed and compared texts differ, from 0 to 1 (total variation). With few texts it
    is above 0 by chance."""


class Statement(_Part):
    """The evidence for one of the three statements that a verdict can make."""

    log_e: float
    """The natural logarithm of the evidence (e-value) after the last label."""
    highest_log_e: float
    """The highest value so far: the statement is made when this reaches the threshold."""
    threshold_log_e: float
    error_rate: float
    """The probability of ever making the statement while it is false is at most this, at any number of looks."""
    made_after: int | None
    """How many labelled disagreements it took; 0 if it needed none, None while the evidence is not sufficient."""
    further: int | None
    """About how many more labelled disagreements it needs at the present rate; None if made or not in sight."""


class Point(_Part):
    """The evidence (natural logarithms) after some of the labels."""

    labels: int
    labelled_at: float | None
    better: float
    worse: float
    no_worse: float


class Verdict(_Part):
    """Whether the candidate is more accurate, according to the labelled disagreements."""

    decision: Decision
    alpha: float
    """The probability of ever making a false decision is at most this."""
    margin: float
    """`no worse` means that at most this much accuracy is lost."""
    wins: int
    """Labelled disagreements on which only the candidate was right."""
    ties: int
    """Labelled disagreements on which neither was right."""
    losses: int
    """Labelled disagreements on which only the served model was right."""
    win_share: Interval
    """The share of wins among wins and losses; the interval holds at all times with probability `1 - alpha`."""
    disagreement_bound: float
    """The models disagree on a smaller share of the traffic than this."""
    better: Statement
    worse: Statement
    no_worse: Statement
    contradictory: bool
    """Whether the evidence once sufficed for better and once for worse: the traffic or the labelling has changed."""
    further: int | None
    """About how many more labelled disagreements a decision needs; None if there is one, or none is in sight."""
    mcnemar_p: float
    """The p-value of the exact McNemar test, for readers who planned to look once."""
    trajectory: list[Point]


class Accuracy(_Part):
    """Both models' accuracy on the compared texts, estimated from the labels."""

    served: Interval | None
    """None while there are no labels of agreements."""
    candidate: Interval | None
    difference: Interval | None
    """The candidate's minus the served model's; it needs labels of disagreements only."""
    labelled_agreements: int
    labelled_disagreements: int
    set_aside: int
    """Labels of texts that were not drawn at random; they do not count here."""


class Disagreement(_Part):
    """A text on which the models disagree, from a fair sample of them."""

    job_id: str
    text: str | None
    """Masked by the redactor; None where texts are not kept."""
    served: str
    candidate: str
    served_confidence: float | None = None
    candidate_confidence: float | None = None
    label: str | None = None


class ShadowReport(_Part):
    """The comparison of a served model and its candidate on the same texts."""

    served: str
    """As `pro@7`: a tier and its version."""
    candidate: str
    agreement: Rate | None
    """None without texts, like the figures below."""
    kappa: Interval | None
    """Cohen's kappa: the agreement beyond chance."""
    homogeneity: ChiSquared | None
    """Stuart and Maxwell: whether both give each intent equally often. None if they never disagree."""
    symmetry: ChiSquared | None
    """Bowker: whether as many texts move from each intent to each other one as back."""
    flows: list[Flow]
    """The most frequent disagreements, in falling order."""
    flows_left_out: int
    """The number of texts in rarer disagreements, which are not listed."""
    intents: list[IntentFigures]
    days: list[Day]
    attributes: list[AttributeValue]
    confidence: Confidence
    latency: Latency
    missed: Missed
    accuracy: Accuracy | None
    """None while there are no labels; so is the verdict, unless the models hardly ever disagree."""
    verdict: Verdict | None
    disagreements: list[Disagreement]
    warnings: list[str]
    """Reservations that a reader should know, a sentence each."""

    @property
    def pair(self) -> str:
        """Name the pair, as `pro@7 vs base@4`."""
        return f"{self.served} vs {self.candidate}"
