"""Estimators with intervals, shared by every evaluation.

Sources are named in each docstring; all intervals are two-sided 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

Numbers: TypeAlias = Sequence[float] | np.ndarray

Z95: Final = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval and the number of independent units behind it."""

    value: float
    low: float
    high: float
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end."""
        return self.low, self.high


def wilson(successes: float, n: int) -> Estimate:
    """A rate with Wilson's score interval (Wilson 1927); nothing is known at n = 0."""
    if n == 0:
        return Estimate(math.nan, 0.0, 1.0, 0)
    p, z2 = successes / n, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return Estimate(p, max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half)), n)


def mean(values: Sequence[float]) -> Estimate:
    """A mean with its normal interval."""
    data = np.asarray(values, dtype=float)
    if data.size == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    half = Z95 * standard_error(values)
    centre = float(data.mean())
    return Estimate(centre, centre - half, centre + half, int(data.size))


def standard_error(values: Sequence[float]) -> float:
    """Standard error of the mean, 0 for fewer than two values."""
    data = np.asarray(values, dtype=float)
    return float(data.std(ddof=1) / math.sqrt(data.size)) if data.size > 1 else 0.0


def clustered_rate(successes: Numbers, sizes: Numbers) -> Estimate:
    """Successes over all trials where trials come in clusters (the pairs of one ranking).

    Linearised ratio estimator (Cochran 1977, ch. 6): the clusters are the independent units. Where
    every cluster holds one trial, Wilson's interval instead. `n` is the number of trials.
    """
    hits, trials = np.asarray(successes, dtype=float), np.asarray(sizes, dtype=float)
    n = int(trials.sum())
    if n == 0 or bool((trials <= 1).all()):
        return wilson(float(hits.sum()), n)
    rate = float(hits.sum() / n)
    clusters = int((trials > 0).sum())
    correction = clusters / max(1, clusters - 1)
    error = math.sqrt(correction * float(((hits - rate * trials) ** 2).sum())) / n
    return Estimate(rate, max(0.0, rate - Z95 * error), min(1.0, rate + Z95 * error), n)


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean difference with its standard error, over `n` independent units; `paired` where both sides
    were measured on the same ones."""

    value: float
    standard_error: float
    n: int
    paired: bool = True

    @property
    def in_errors(self) -> float:
        """How many standard errors lie between the difference and none."""
        if self.standard_error > 0:
            return self.value / self.standard_error
        return math.copysign(math.inf, self.value) if self.value else 0.0

    @property
    def estimate(self) -> Estimate:
        """With its 95 % interval."""
        half = Z95 * self.standard_error
        return Estimate(self.value, self.value - half, self.value + half, self.n)


def paired_difference(before: Sequence[float], after: Sequence[float]) -> Difference:
    """The mean of `after - before`, unit by unit."""
    gaps = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    return Difference(float(gaps.mean()), standard_error(gaps.tolist()), len(gaps))


def clustered_difference(gaps: Numbers, sizes: Numbers) -> Difference:
    """Two rules' successes on the same trials, subtracted: `gaps` are the sums over each cluster.

    The same linearised ratio estimator as `clustered_rate`, so that what both rules get right or wrong
    together adds no noise. `n` is the number of clusters.
    """
    sums, trials = np.asarray(gaps, dtype=float), np.asarray(sizes, dtype=float)
    total, clusters = float(trials.sum()), int((trials > 0).sum())
    if total == 0:
        return Difference(math.nan, math.nan, 0)
    value = float(sums.sum() / total)
    correction = clusters / max(1, clusters - 1)
    error = math.sqrt(correction * float(((sums - value * trials) ** 2).sum())) / total
    return Difference(value, error, clusters)
