"""Differences between two policies, with intervals.

`compared` is the paired one, of the gold reward on the same prompts. Where the JSON holds only
rates, `rate_difference` treats the two stages as independent, which on the same prompts is the
more careful way: answers to one prompt tend to agree, so the true interval is narrower.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from parley.evals.statistics import Difference, Estimate, paired_difference
from parley.reports.values import Evaluation


def compared(before: Evaluation, after: Evaluation, decoding: str) -> Difference | None:
    """The difference in gold reward: prompt by prompt where both were asked the same, else of the means."""
    old, new = before.decodings.get(decoding), after.decodings.get(decoding)
    if old is None or new is None:
        return None
    if before.asked == after.asked and old.per_prompt and len(old.per_prompt) == len(new.per_prompt):
        return paired_difference(old.per_prompt, new.per_prompt)
    error = math.hypot(old.gold_error, new.gold_error)
    return Difference(new.gold.value - old.gold.value, error, min(old.gold.n, new.gold.n), paired=False)


def rate_difference(before: Estimate, after: Estimate) -> Estimate:
    """`after - before` with Newcombe's hybrid score interval (1998, method 10), from their own intervals.

    For means with normal intervals it is the usual one. `n` is the smaller of the two.
    """
    value = after.value - before.value
    low = value - math.hypot(after.value - after.low, before.high - before.value)
    high = value + math.hypot(after.high - after.value, before.value - before.low)
    return Estimate(value, low, high, min(before.n, after.n))


def mean_rate(rates: Sequence[Estimate]) -> Estimate:
    """The unweighted mean of independent rates, with its interval from theirs (MOVER: Zou, Donner 2008)."""
    known = [rate for rate in rates if not math.isnan(rate.value)]
    if not known:
        return Estimate(math.nan, math.nan, math.nan, 0)
    k = len(known)
    value = sum(rate.value for rate in known) / k
    low = value - math.hypot(*(rate.value - rate.low for rate in known)) / k
    high = value + math.hypot(*(rate.high - rate.value for rate in known)) / k
    return Estimate(value, low, high, sum(rate.n for rate in known))
