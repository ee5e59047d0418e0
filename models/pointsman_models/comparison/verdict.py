"""The verdict: whether to switch to the candidate, with a stated error rate, at any time one cares to ask.

Three statements about the accuracy difference d (candidate minus served, on traffic like the compared) can be made,
each once its evidence has ever been enough:

    better      d > 0          from the labelled disagreements, see `evidence`
    worse       d < 0          the same with wins and losses exchanged
    no worse    d > -margin    non-inferiority

**The margin** is on accuracy: `0.01` is one text in a hundred. Where the models agree they are right or wrong
together, so `d = D m`, with D the rate of disagreement and m the mean score of a disagreement (win 1, tie 0, loss
-1); `d <= -margin` is `m <= -margin / D`. D is not known, but a bound U that is above D at all times with probability
`1 - e` is, from the unlabelled texts (`intervals.always_valid`). The evidence against `m <= -margin / U` never exceeds
that against `m <= -margin / D` while U is above D; so the two error rates add up. A tenth of the statement's error
rate goes to U, of which there is a lot of data, and nine tenths to the labels. Where U itself is below the margin, the
models disagree too seldom to matter, and no label is needed.

**The error rate.** Each statement has alpha / 2: the probability that it is *ever* made while it is false is at most
that. Whatever d is, at most two of the three are false: better and worse if d = 0, better and no worse if d <=
-margin, one otherwise. So, by the union bound, the probability that anything false is ever said is at most alpha; and
none of it depends on how often one looks, or on why one stops.

**What it rests on.** Labelled disagreements come one by one, from the same traffic, drawn and ordered without looking
at who is right (`labelling`). If the traffic changes under way, each statement is about the labels so far; evidence
for both better and worse is a sign of that, and decides nothing.

The exact McNemar test (McNemar 1947) is given beside it, for readers who planned one look; its p-value means nothing
to those who look repeatedly.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from pointsman_models.comparison import evidence, intervals
from pointsman_models.comparison import labels as labelling
from pointsman_shared.wire import shadow_report

ALPHA = 0.05
MARGIN = 0.01
BOUND_PART = 0.1
MAX_FURTHER = 1_000_000
TRAJECTORY_POINTS = 200

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """The evidence for one of the three statements."""

    log_e: float
    """The natural logarithm of the evidence after the last label."""
    highest_log_e: float
    """The highest it ever was; that is what decides."""
    threshold_log_e: float
    error_rate: float
    """The probability of ever making the statement while it is false is at most this."""
    made_after: int | None
    """How many labelled disagreements it took; None while the evidence is not enough."""
    further: int | None
    """About how many more labels it needs if they fall as they have; None if made, or not in sight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The evidence after some of the labels."""

    labels: int
    labelled_at: float | None
    better: float
    worse: float
    no_worse: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the labelled disagreements say."""

    decision: shadow_report.Decision
    alpha: float
    """The probability that anything false is ever said is at most this."""
    margin: float
    wins: int
    ties: int
    losses: int
    win_share: intervals.Interval
    """The candidate's share of the decided labels; the interval holds at all times with probability `1 - alpha`."""
    disagreement_bound: float
    """The share of texts that the models disagree on is below this."""
    better: Statement
    worse: Statement
    no_worse: Statement
    contradictory: bool
    """Whether the evidence was enough for better and for worse: the traffic, or the labelling, has changed."""
    further: int | None
    """About how many more labels the nearest statement needs; None once there is a decision, or none in sight."""
    log_e_difference: float
    """The evidence that the models differ, in whichever direction."""
    mcnemar_p: float
    """Exact and two-sided, for one planned look only."""
    trajectory: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """A statement as a bet: on which scores, against which hypothesis, and what has to be reached."""

    wins: Counts
    ties: Counts
    losses: Counts
    allowance: float
    error_rate: float
    threshold: float

    def log_e(self) -> evidence.Floats:
        return evidence.log_evidence(self.wins, self.ties, self.losses, allowance=self.allowance)

    def after(self, further: NDArray[np.float64]) -> evidence.Floats:
        """Give the evidence after so many more labels that fall as those so far."""
        growth = 1 + further / (len(self.wins) - 1)
        latest = (counts[-1] * growth for counts in (self.wins, self.ties, self.losses))
        return evidence.log_evidence(*latest, allowance=self.allowance)


def judge(
    pairs: Sequence[labelling.LabelledPair],
    *,
    texts: int,
    agreed: int,
    alpha: float = ALPHA,
    margin: float = MARGIN,
) -> Verdict:
    """Weigh the labels.

    Args:
        pairs: All labelled pairs in the order in which their labels arrived; a label that was corrected keeps its
            place. Those that agree or were not drawn do not count.
        texts: How many texts were compared, labelled or not.
        agreed: On how many of them the models agreed.
        alpha: The error rate of the whole verdict, in (0, 1).
        margin: How much accuracy the candidate may lose and still be called no worse, in (0, 1).
    """
    counted = labelling.drawn(pairs, agreed=False)
    wins, ties, losses = _running_counts(counted)
    bound = intervals.always_valid(texts - agreed, agreed, alpha=BOUND_PART * alpha / 2).high
    better, worse, no_worse = _claims(wins, ties, losses, alpha=alpha, allowance=margin / bound)
    courses = (better.log_e(), worse.log_e(), no_worse.log_e())
    statements = (
        _statement(better, courses[0]),
        _statement(worse, courses[1]),
        _statement(no_worse, courses[2], made_already=bound <= margin),
    )
    decision = _decide(*statements)
    won, tied, lost = int(wins[-1]), int(ties[-1]), int(losses[-1])
    return Verdict(
        decision=decision,
        alpha=alpha,
        margin=margin,
        wins=won,
        ties=tied,
        losses=lost,
        win_share=intervals.always_valid(won, lost, alpha=alpha),
        disagreement_bound=bound,
        better=statements[0],
        worse=statements[1],
        no_worse=statements[2],
        contradictory=_contradictory(statements[0], statements[1]),
        further=_nearest(statements) if decision == "keep looking" else None,
        log_e_difference=float(evidence.log_difference(won, lost)),
        mcnemar_p=mcnemar(won, lost),
        trajectory=_trajectory(counted, *courses),
    )


def mcnemar(wins: int, losses: int) -> float:
    """Give the exact two-sided p-value of wins and losses being equally likely, for one planned look."""
    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def _running_counts(pairs: Sequence[labelling.LabelledPair]) -> tuple[Counts, Counts, Counts]:
    """Count wins, ties and losses after each number of labels, from none to all."""
    scores = np.array([pair.score for pair in pairs], dtype=np.int64)
    return _running(scores == 1), _running(scores == 0), _running(scores == -1)


def _running(hits: NDArray[np.bool_]) -> Counts:
    return np.concatenate([[0], np.cumsum(hits)]).astype(np.int64)


def _claims(
    wins: Counts, ties: Counts, losses: Counts, *, alpha: float, allowance: float
) -> tuple[_Claim, _Claim, _Claim]:
    rate = alpha / 2
    # Past 1 there is nothing left to bet on; `made_already` says so.
    allowance = min(allowance, 1 - 1e-9)
    enough, enough_beside_bound = -math.log(rate), -math.log((1 - BOUND_PART) * rate)
    better = _Claim(wins=wins, ties=ties, losses=losses, allowance=0.0, error_rate=rate, threshold=enough)
    worse = _Claim(wins=losses, ties=ties, losses=wins, allowance=0.0, error_rate=rate, threshold=enough)
    no_worse = _Claim(
        wins=wins,
        ties=ties,
        losses=losses,
        allowance=allowance,
        error_rate=rate,
        threshold=enough_beside_bound,
    )
    return better, worse, no_worse


def _statement(claim: _Claim, course: evidence.Floats, *, made_already: bool = False) -> Statement:
    reached = np.flatnonzero(course >= claim.threshold)
    made_after = 0 if made_already else int(reached[0]) if len(reached) else None
    return Statement(
        log_e=float(course[-1]),
        highest_log_e=float(course.max()),
        threshold_log_e=claim.threshold,
        error_rate=claim.error_rate,
        made_after=made_after,
        further=_further(claim) if made_after is None else None,
    )


def _further(claim: _Claim) -> int | None:
    """Carry the shares of wins, ties and losses on until the evidence is enough; rounded to two digits."""
    if len(claim.wins) == 1:
        return None
    steps = np.unique(np.geomspace(1, MAX_FURTHER, 400).astype(np.int64))
    reached = np.flatnonzero(claim.after(steps.astype(np.float64)) >= claim.threshold)
    return int(float(f"{steps[reached[0]]:.2g}")) if len(reached) else None


def _nearest(statements: Sequence[Statement]) -> int | None:
    return min((one.further for one in statements if one.further is not None), default=None)


def _decide(better: Statement, worse: Statement, no_worse: Statement) -> shadow_report.Decision:
    """Choose the strongest statement that was made; worse by less than the margin is still worse."""
    if _contradictory(better, worse):
        return "keep looking"
    if worse.made_after is not None:
        return "worse"
    if better.made_after is not None:
        return "better"
    return "keep looking" if no_worse.made_after is None else "no worse"


def _contradictory(better: Statement, worse: Statement) -> bool:
    return better.made_after is not None and worse.made_after is not None


def _trajectory(
    pairs: Sequence[labelling.LabelledPair],
    better: evidence.Floats,
    worse: evidence.Floats,
    no_worse: evidence.Floats,
) -> tuple[Point, ...]:
    places = np.unique(np.linspace(0, len(pairs), TRAJECTORY_POINTS).astype(np.int64)).tolist()
    return tuple(
        Point(
            labels=place,
            labelled_at=pairs[place - 1].labelled_at if place else None,
            better=float(better[place]),
            worse=float(worse[place]),
            no_worse=float(no_worse[place]),
        )
        for place in places
    )
