"""Guards of PPO: what one kind of prompt loses while the mean over all rises.

The reward model's mean hides a behaviour that dies (a policy that asks back everywhere scores well
where asking is right). A guard watches the mean score of every group of prompts, smoothed over
steps, and stops the round when one falls too far below where the reference policy stood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

SMOOTHING: Final = 0.8  # weight of the past in the running mean
START: Final = "start of "
RUNNING: Final = "running "


def group_means(groups: Sequence[str], scores: Sequence[float]) -> dict[str, float]:
    """The mean score of each group, by name."""
    names, values = np.asarray(groups), np.asarray(scores, dtype=float)
    return {str(name): float(values[names == name].mean()) for name in sorted(set(groups))}


def guard_starts(means: Mapping[str, float]) -> dict[str, float]:
    """Where each group stands before training; kept with the saved steps."""
    return {f"{START}{name}": value for name, value in means.items()}


def watch(values: dict[str, float], means: Mapping[str, float], *, drop: float) -> str:
    """The group whose running mean lies more than `drop` below its start, the lowest of several; ""
    where none does or `drop` is 0. `values` holds starts and running means, and is brought up to date."""
    falls: dict[str, float] = {}
    for name, mean in means.items():
        start = values.setdefault(f"{START}{name}", mean)
        before = values.get(f"{RUNNING}{name}", start)
        values[f"{RUNNING}{name}"] = SMOOTHING * before + (1 - SMOOTHING) * mean
        falls[name] = start - values[f"{RUNNING}{name}"]
    worst = max(falls, key=lambda name: falls[name], default="")
    return worst if drop > 0 and worst and falls[worst] > drop else ""
