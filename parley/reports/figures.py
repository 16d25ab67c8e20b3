"""How numbers read: one way in sentences, tables and plots."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

from parley.evals.statistics import Estimate

MINUS: Final = "\u2212"
MISSING: Final = "–"
THIN: Final = "\u202f"


def number(value: float, digits: int = 2) -> str:
    """A plain number with a true minus sign."""
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    shown = f"{value:.{digits}f}"
    shown = shown.lstrip("-") if float(shown) == 0 else shown
    return shown.replace("-", MINUS)


def signed(value: float, digits: int = 2) -> str:
    """A difference: its sign always shows."""
    shown = number(value, digits)
    return f"+{shown}" if value > 0 and shown != number(0.0, digits) else shown


def short(value: float) -> str:
    """At most three significant digits, for axes and last values."""
    if math.isnan(value) or math.isinf(value):
        return number(value)
    return f"{value:.3g}".replace("-", MINUS) if abs(value) < 1000 else count(value)


def percent(value: float) -> str:
    """A rate as a percentage, with a decimal where it is small."""
    if math.isnan(value):
        return MISSING
    hundredth = 100 * value
    decimal = 0 < abs(hundredth) < 9.95 and abs(hundredth - round(hundredth)) >= 0.05
    return f"{number(hundredth, 1 if decimal else 0)}{THIN}%"


def points(value: float) -> str:
    """A difference of rates in percentage points."""
    return signed(100 * value, 0 if abs(value) >= 0.0995 else 1)


def plus_minus(value: float, error: float, digits: int = 2) -> str:
    """A value with its standard error, never broken over two lines."""
    return f"{number(value)}\u00a0±\u00a0{number(error, digits)}"


def interval(estimate: Estimate, *, rate: bool) -> str:
    """A 95 % interval, `80 to 92` for a rate in per cent."""
    low, high = estimate.interval
    if math.isnan(low) or math.isnan(high):
        return ""
    if rate:
        return f"{_bare(low)} to {_bare(high)}"
    return f"{number(low)} to {number(high)}"


def count(value: float) -> str:
    """A whole number, thousands apart."""
    return f"{value:,.0f}".replace(",", "\u202f").replace("-", MINUS)


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 60:
        return f"{number(seconds, 0 if seconds >= 9.95 else 1)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def moment(seconds: int) -> str:
    """A time of the clock, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC") if seconds else MISSING


def many(n: int, one: str, several: str = "") -> str:
    """`1 step`, `2 steps`."""
    return f"{n} {one if n == 1 else several or one + 's'}"


def _bare(rate: float) -> str:
    return percent(rate).removesuffix(f"{THIN}%")
