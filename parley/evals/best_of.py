"""What choosing the best of n replies is worth, and what it costs in KL to the policy that wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, log
from typing import Any

import numpy as np

from parley.evals.statistics import mean


def best_of_kl_nats(n: int) -> float:
    """log n - (n-1)/n: the KL of the best of n to one draw, where no two replies score the same; with ties
    it is less (Stiennon et al. 2020, appendix; Beirami et al. 2024, arXiv:2401.01879)."""
    return log(n) - (n - 1) / n


def best_of_curve(scores: np.ndarray, gold: np.ndarray | None = None) -> list[dict[str, Any]]:
    """For every k up to n: the score, and the gold, of the best of k replies, in the mean over prompts.

    `scores` is [prompts, n]. Every choice of k among the n counts once, so the estimate is unbiased and
    needs no second sampling; the interval is over prompts.
    """
    order = np.argsort(scores, axis=1, kind="stable")
    ranked = {"score": np.take_along_axis(scores, order, 1)}
    if gold is not None:
        ranked["gold"] = np.take_along_axis(gold, order, 1)
    return [_point(k, ranked) for k in range(1, scores.shape[1] + 1)]


def _point(k: int, ranked: dict[str, np.ndarray]) -> dict[str, Any]:
    n = ranked["score"].shape[1]
    chances = np.array([comb(place, k - 1) / comb(n, k) for place in range(n)])  # that it is the best of k
    found: dict[str, Any] = {"n": k, "kl_nats": best_of_kl_nats(k)}
    for name, values in ranked.items():
        estimate = mean(_expected(values, chances))
        found[name] = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    return found


def _expected(values: np.ndarray, chances: np.ndarray) -> Sequence[float]:
    return [float(one) for one in values @ chances]
