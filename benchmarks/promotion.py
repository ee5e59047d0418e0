"""How often a version that should not be promoted is: our gate against "its F1 is higher", by simulation."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pointsman_models.promotion import bootstrap
from pointsman_models.training.evaluation import Labels

ERROR_RATE = 0.05
MARGIN = 0.01
TRIES = 1_000
RESAMPLES = 500
INTENTS = np.array([f"intent {number:02d}" for number in range(10)])
RIGHT = 0.9
SIZES = (200, 500, 2_000)
# The share of rows that exactly one of both has right: two models of the same data, and of rather different data.
DISCORDANT = (0.02, 0.06)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The share of tries in which a version was promoted."""

    higher: float
    """By "its F1 is higher"."""
    better: float
    """By our gate with margin 0."""
    no_worse: float
    """By our gate with a margin of one point."""


def run(_trained: Path) -> None:
    """Print a table: one row a test set's size and model."""
    print(f"\nfalse promotions of {TRIES:,} tries; stated rate {ERROR_RATE:.0%}")
    print(
        f"  {'rows':>6} {'new model':<16} {'discordant':>10} {'F1 is higher':>13} {'margin 0':>9} {'margin 0.01':>12}"
    )
    for size in SIZES:
        for name, loss in (("equal", 0.0), ("one point worse", MARGIN)):
            for discordant in DISCORDANT:
                rates = simulate(size, loss=loss, discordant=discordant)
                shares = f"{rates.higher:>13.1%} {rates.better:>9.1%} {rates.no_worse:>12.1%}"
                print(f"  {size:>6,} {name:<16} {discordant:>10.0%} {shares}")
    print("  an equal model within the margin of 0.01 is no false promotion")


def simulate(
    size: int, *, loss: float, discordant: float, tries: int = TRIES, draw: int = 20_240_229
) -> Rates:
    """Let a model that is worse by `loss` try to be promoted; `draw` seeds the rows."""
    found = [
        bootstrap.compare(labels, new, old, level=ERROR_RATE, resamples=RESAMPLES, seed=seed)
        for seed, (labels, new, old) in enumerate(_draws(size, loss, discordant, tries, draw))
    ]
    return Rates(
        higher=float(np.mean([one.new > one.old for one in found])),
        better=float(np.mean([one.lower > 0 for one in found])),
        no_worse=float(np.mean([one.lower > -MARGIN for one in found])),
    )


def _draws(
    size: int, loss: float, discordant: float, tries: int, draw: int
) -> Iterator[tuple[Labels, Labels, Labels]]:
    random = np.random.default_rng(draw)
    gained, lost = (discordant - loss) / 2, (discordant + loss) / 2
    for _ in range(tries):
        truth = random.integers(0, len(INTENTS), size)
        wrong = (truth + random.integers(1, len(INTENTS), size)) % len(INTENTS)
        place = random.random(size)
        old = np.where(place < RIGHT, truth, wrong)
        new_is_right = (place < RIGHT - lost) | ((place >= RIGHT) & (place < RIGHT + gained))
        yield INTENTS[truth], INTENTS[np.where(new_is_right, truth, wrong)], INTENTS[old]
