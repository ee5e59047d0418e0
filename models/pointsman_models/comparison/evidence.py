"""Evidence that may be looked at after every label: the e-processes behind the verdict.

A label of a text with two answers says: only the candidate is right (a win), only the served model is right (a loss),
or neither is (a tie). To test "the candidate is better" one bets on it: of a capital of 1, a part `b` is staked on the
next labelled disagreement, which turns the capital into `1 + b` at a win, leaves it at a tie, and turns it into `1 - b`
at a loss. If the candidate is *not* better, that game is fair or unfavourable, and no way of playing it, nor of
choosing when to stop, makes the capital ever reach `1 / alpha` with a probability above `alpha` (Ville 1939). So a
capital of `1 / alpha` at any time proves, at that error rate, that the candidate is better. The capital is the
evidence.

The best stake is unknown; so the capital of 1 is divided among many stakes, and their capitals are added up. That is
the mixture of Robbins (1970): with `p = (1 + b) / 2`, a stake is the likelihood ratio of "the candidate wins a share p
of the decided labels" to "it wins half", and the mixture over p, Beta(a, a) restricted to p > 1/2, is

    2^n B(a + x, a + n - x) I(a + x, a + n - x) / (B(a, a) / 2),    x wins of n decided, I the Beta's mass above 1/2.

The restriction makes it one-sided: every stake loses on average against *each* p <= 1/2, which is not true of the full
mixture.

`allowance` moves the hypothesis that is bet against: a mean score (wins minus losses per disagreement) of at most
`-allowance` instead of 0. The stakes stay; the allowance raises what they win (1 + b (score + allowance)). Betting on
the mean of a bounded variable: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting",
JRSS B 86 (2024). As every stake is at most 1 whatever the allowance, more allowance always means more evidence: too
small an allowance is safe.

The mixture is a sum over fixed stakes and not an integral. A sum of games is a game, so the guarantee is exact and
not up to a numerical error; and unlike the closed form it cannot underflow.

Robbins, "Statistical methods related to the law of the iterated logarithm", Ann. Math. Statist. 41 (1970). Shafer,
"Testing by betting", JRSS A 184 (2021). Ramdas, Grünwald, Vovk, Shafer, "Game-theoretic statistics and safe
anytime-valid inference", Statistical Science 38 (2023). Grünwald, de Heide, Koolen, "Safe testing", JRSS B 86 (2024).
"""

import functools

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import roots_legendre

# The a = b of the mixture: versions worth comparing are rarely far apart. Decided labels needed in the median of
# 2,000 simulated runs (error rate 0.025), against a uniform mixture (a = 1): 795 for 968 at 55% wins, 82 for 88 at
# 65%, 15 for 12 at 90%.
PRIOR = 5.0
STAKES = 64

Floats = NDArray[np.float64]


def log_evidence(wins: ArrayLike, ties: ArrayLike, losses: ArrayLike, *, allowance: float = 0.0) -> Floats:
    """Return the natural logarithm of the evidence that the mean score is above `-allowance`.

    With `allowance=0` it is the evidence that the candidate is better; with wins and losses exchanged, that it is
    worse. Ties count only with an allowance.

    Args:
        wins: The number of labels that the candidate won; an array gives the evidence at each of its places.
        ties: The number that neither model won, of the same shape.
        losses: The number that the served model won, of the same shape.
        allowance: In [0, 1).
    """
    wins, ties, losses = (np.asarray(counts, dtype=np.float64) for counts in (wins, ties, losses))
    stakes, log_capital = _stakes()
    at_win, at_tie, at_loss = (np.log1p(stakes * (score + allowance)) for score in (1, 0, -1))
    capitals = (
        start + wins * win + ties * tie + losses * loss
        for start, win, tie, loss in zip(log_capital, at_win, at_tie, at_loss, strict=True)
    )
    return functools.reduce(np.logaddexp, capitals)


@functools.cache
def _stakes() -> tuple[Floats, Floats]:
    """Return the stakes and the logarithm of the capital on each; the capitals add up to 1."""
    nodes, weights = roots_legendre(STAKES)
    stakes = (nodes + 1) / 2
    capital = weights * (1 - stakes**2) ** (PRIOR - 1)
    return stakes, np.log(capital / capital.sum())
