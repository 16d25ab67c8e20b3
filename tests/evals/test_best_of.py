"""Best of n: the expected best by brute force, and the KL that choosing costs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from parley.evals.best_of import best_of_curve, best_of_kl_nats


def test_the_curve_is_the_mean_over_every_choice_of_k() -> None:
    generator = np.random.default_rng(0)
    scores, gold = generator.normal(size=(2, 3, 6))
    for point in best_of_curve(scores, gold):
        chosen = [list(rows) for rows in combinations(range(6), point["n"])]
        best = [[max(rows, key=lambda n: one[n]) for rows in chosen] for one in scores]
        for name, table in (("score", scores), ("gold", gold)):
            exact = np.mean([np.mean(table[p][best[p]]) for p in range(3)])
            assert point[name]["value"] == pytest.approx(exact, abs=1e-12)


def test_the_kl_of_the_best_of_n_equals_that_of_its_distribution() -> None:
    """Over m equally likely replies with different scores, the best of n is reply i with chance
    (i^n - (i-1)^n) / m^n; for large m its KL to a fair draw is log n - (n-1)/n."""
    for n in (1, 2, 4, 16):
        edges = (np.arange(100_001) / 100_000) ** n
        chances = np.diff(edges)
        chances = chances[chances > 0]
        exact = float((chances * np.log(chances * 100_000)).sum())
        assert best_of_kl_nats(n) == pytest.approx(exact, abs=1e-3)
