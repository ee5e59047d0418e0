"""The verdict: whether to switch to the candidate, with a stated error rate, at any time.

The verdict can make three statements about the accuracy difference d (candidate minus served, on traffic like the
compared). It makes each one as soon as its evidence has been enough once:

    better      d > 0          from the labelled disagreements, see `evidence`
    worse       d < 0          the same with wins and losses exchanged
    no worse    d > -margin    non-inferiority

**The margin** is on accuracy: `0.01` is one text in a hundred. Where the models agree they are right or wrong
together, so `d = D m`, with D the rate of disagreement and m the mean score of a disagreement (win 1, tie 0, loss
-1); `d <= -margin` is `m <= -margin / D`. D is unknown, but the unlabelled texts give a bound U that is above D at all
times with probability `1 - e` (`intervals.always_valid`). While U is above D, the evidence against `m <= -margin / U`
never exceeds that against `m <= -margin / D`; so the two error rates add up. A tenth of the statement's error rate
goes to U, for which there is much data, and nine tenths to the labels. If U itself is below the margin, the models
disagree too rarely to matter, and no label is needed.

**The error rate.** Each statement has alpha / 2: the probability that it is *ever* made while it is false is at most
that. Whatever d is, at most two of the three are false: better and worse if d = 0, better and no worse if d <=
-margin, one otherwise. So, by the union bound, the probability of any false statement is at most alpha. It does not
depend on how often one looks, or on why one stops.

**Assumptions.** Labelled disagreements come one by one, from the same traffic, drawn and ordered without looking at
which model is right (`labels`). If the traffic changes, each statement is about the labels so far. Evidence for both
better and worse is a sign of such a change, and then there is no decision.

The exact McNemar test (McNemar 1947) is reported beside it, for readers who planned one look; its p-value means
nothing to readers who look repeatedly.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from pointsman_models.comparison import evidence, intervals
from pointsman_models.comparison import labels as labelling
from pointsman_shared.wire.shadow_report import Decision, Point, Statement, Verdict

ALPHA = 0.05
MARGIN = 0.01
BOUND_PART = 0.1
MAX_FURTHER = 1_000_000
TRAJECTORY_POINTS = 200

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """A statement as a bet: on which scores, against which hypothesis, and the evidence it takes."""

    wins: Counts
    ties: Counts
    losses: Counts
    allowance: float
    error_rate: float
    threshold: float

    def log_e(self) -> evidence.Floats:
        return evidence.log_evidence(self.wins, self.ties, self.losses, allowance=self.allowance)

    def after(self, further: NDArray[np.float64]) -> evidence.Floats:
        """Return the evidence after that many more labels with the same shares."""
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
        pairs: All labelled pairs in the order in which their labels arrived; a corrected label keeps its place.
            Agreements do not count, nor do texts that were not drawn.
        texts: The number of compared texts, labelled or not.
        agreed: The number of them on which the models agreed.
        alpha: The error rate of the whole verdict, in (0, 1).
        margin: The accuracy that a candidate may lose while it is called no worse, in (0, 1).
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
    won, tied, lost = (int(counts[-1]) for counts in (wins, ties, losses))
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
        mcnemar_p=mcnemar(won, lost),
        trajectory=_trajectory(counted, *courses),
    )


def mcnemar(wins: int, losses: int) -> float:
    """Return the exact two-sided p-value that wins and losses are equally likely, for one planned look."""
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
    # From 1 on there is nothing to bet on; then the statement is made without labels.
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
    """Extrapolate the shares of wins, ties and losses until the evidence is enough; round to two digits."""
    if len(claim.wins) == 1:
        return None
    steps = np.unique(np.geomspace(1, MAX_FURTHER, 400).astype(np.int64))
    reached = np.flatnonzero(claim.after(steps.astype(np.float64)) >= claim.threshold)
    return int(float(f"{steps[reached[0]]:.2g}")) if len(reached) else None


def _nearest(statements: Sequence[Statement]) -> int | None:
    return min((one.further for one in statements if one.further is not None), default=None)


def _decide(better: Statement, worse: Statement, no_worse: Statement) -> Decision:
    """Return the strongest statement that was made; worse by less than the margin is still worse."""
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
) -> list[Point]:
    places = np.unique(np.linspace(0, len(pairs), TRAJECTORY_POINTS).astype(np.int64)).tolist()
    return [
        Point(
            labels=place,
            labelled_at=pairs[place - 1].labelled_at if place else None,
            better=float(better[place]),
            worse=float(worse[place]),
            no_worse=float(no_worse[place]),
        )
        for place in places
    ]
