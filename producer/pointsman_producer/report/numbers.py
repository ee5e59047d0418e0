"""The numbers and texts of a report, as it shows them."""

import math

from pointsman_shared.wire.shadow_report import Interval, Rate

MAX_SHOWN_LOG_E = math.log(1e6)


def percent(share: float) -> str:
    """Write a share; 100% means all, and 0% means none."""
    text = f"{share:.1%}"
    if text == "100.0%" and share < 1:
        return "over 99.9%"
    return "under 0.1%" if text == "0.0%" and share > 0 else text


def points(found: Interval) -> str:
    """Write a difference of shares with its interval."""
    return f"{100 * found.value:+.1f} points ({100 * found.low:+.1f} to {100 * found.high:+.1f})"


def share(found: Interval | Rate) -> str:
    """Write a share with its interval."""
    return f"{percent(found.value)} ({percent(found.low)} to {percent(found.high)})"


def evidence(log_e: float) -> str:
    """Write an e-value."""
    if log_e > MAX_SHOWN_LOG_E:
        return "over a million"
    value = math.exp(log_e)
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"  # noqa: PLR2004  three digits are enough


def p_value(value: float) -> str:
    """Write a p-value."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"  # noqa: PLR2004  the usual precision


def count(number: int, thing: str) -> str:
    """Write a number of things, in the singular or the plural."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def shortened(text: str, chars: int) -> str:
    """Cut a text that is too long to show."""
    return text if len(text) <= chars else text[: chars - 1] + "…"
