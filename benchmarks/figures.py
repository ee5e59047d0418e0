"""Medians of repeated runs, and how they are shown."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence


def side_by_side(
    contestants: Mapping[str, Callable[[], int]],
    *,
    rounds: int = 5,
    settle: Callable[[], object] = lambda: None,
) -> dict[str, float]:
    """Run all contestants in turn, several times, and give each one's median rate.

    Args:
        contestants: What to run; each says how many texts it did.
        rounds: How often. Taking turns spreads the machine's moods over all of them.
        settle: Waits until what one left behind is done, so that the next has the machine for itself.

    Returns:
        Texts a second.
    """
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for contestant in contestants.values():
        contestant()
        settle()
    for _ in range(rounds):
        for name, contestant in contestants.items():
            started = time.perf_counter()
            done = contestant()
            rates[name].append(done / (time.perf_counter() - started))
            settle()
    return {name: statistics.median(values) for name, values in rates.items()}


def percentile(values: Sequence[float], percent: int) -> float:
    """Give a percentile, by linear interpolation."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def show_rates(title: str, rates: Mapping[str, float], *, reference: str) -> None:
    """Print rates and their ratio to one of them."""
    print(f"\n{title}")
    for name, rate in rates.items():
        print(f"  {name:<58}{rate:>12,.0f} texts/s {rate / rates[reference]:>8.3f}")
