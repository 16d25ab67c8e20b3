"""Intervals against published or exactly computed values, and their coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest

from parley.evals.statistics import clustered_rate, mean, standard_error, wilson


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    # Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_equals_newcombes_table(hits: int, n: int, low: float, high: float) -> None:
    assert wilson(hits, n).interval == pytest.approx((low, high), abs=1e-4)


def test_wilson_of_nothing_says_nothing() -> None:
    found = wilson(0, 0)
    assert math.isnan(found.value)
    assert found.interval == (0.0, 1.0)


def test_the_mean_and_its_error_by_hand() -> None:
    found = mean([1.0, 2.0, 3.0, 4.0])
    assert found.value == 2.5
    assert standard_error([1.0, 2.0, 3.0, 4.0]) == pytest.approx(math.sqrt(5 / 3) / 2)
    assert found.high - found.value == pytest.approx(1.96 * math.sqrt(5 / 3) / 2, rel=1e-3)
    assert standard_error([3.0]) == 0.0


def test_single_trials_are_plain_rates() -> None:
    assert clustered_rate([1, 0, 1, 1], [1, 1, 1, 1]) == wilson(3, 4)


def test_pairs_of_one_ranking_do_not_count_as_independent() -> None:
    """Ten clusters of ten equal outcomes carry the information of ten trials."""
    clustered = clustered_rate([10, 0] * 5, [10] * 10)
    assert clustered.n == 100
    assert clustered.high - clustered.low > 2.5 * (wilson(50, 100).high - wilson(50, 100).low)


def test_clustered_intervals_cover_the_truth() -> None:
    """1,000 replications with strong dependence inside a cluster: 95 % intervals hold it 92 to 97 %."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        sizes = rng.integers(1, 12, 120)
        rates = rng.beta(2.8, 1.2, 120)
        found = clustered_rate(rng.binomial(sizes, rates).tolist(), sizes.tolist())
        covered += found.low <= 0.7 <= found.high
    assert 0.92 <= covered / 1000 <= 0.97
