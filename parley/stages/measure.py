"""What a round's reward models are worth, on rankings that none of them has seen.

All of them, and the floors without a language model, are scored on the very same pairs in one go, so
that they can be compared pair by pair. The figures themselves are `evals.reward_report`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from parley.artifacts import EvalReport, RankingSet, RewardCheckpoint, Snapshot, Workspace
from parley.evals.reward_accuracy import ranking_scores
from parley.evals.reward_report import Held, Scores, names_person, reward_figures
from parley.evals.text_floor import TextFloor
from parley.labels import Ranking
from parley.model.reward_checkpoint import load_reward
from parley.stages.data import rankings_of

REPORT: Final = "report.json"


def measure_reward(
    out: Workspace,
    models: tuple[tuple[str, RewardCheckpoint], ...],
    told: Snapshot,
    collected: tuple[RankingSet, ...],
) -> EvalReport:
    """Figures of every named reward model, and of the floors, on the rankings that were kept apart.

    The first model is the one whose figures head the artifact: the one that PPO will obey.
    """
    held = _held(told, collected)
    found = {
        name: reward_figures(held, ranking_scores(load_reward(model.path, out.plan), held.rankings))
        for name, model in models
        if held.rankings
    }
    report = {"kind": "reward", "rankings": len(held.rankings), "models": found}
    out.file(REPORT).write_text(json.dumps(report, indent=1, ensure_ascii=False), encoding="utf-8")
    return out.seal(EvalReport, _headline(found[models[0][0]]) if found else {})


def _held(told: Snapshot, collected: tuple[RankingSet, ...]) -> Held:
    learnt = [*_strict(rankings_of(told)), *(r for part in collected for r in _strict(rankings_of(part)))]
    unseen = _strict(rankings_of(told, held_out=True))
    unseen += _strict(rankings_of(collected[-1], held_out=True)) if collected else []
    known = frozenset(ranking.trainer for ranking in learnt if names_person(ranking))
    return Held(unseen, TextFloor(learnt).scores(unseen), _own_floors(learnt, unseen), known)


def _strict(rankings: Iterable[Ranking]) -> list[Ranking]:
    return [ranking for ranking in rankings if ranking.comparisons()]


def _own_floors(learnt: Sequence[Ranking], unseen: Sequence[Ranking]) -> Scores:
    """The floor of each source, fitted to that source's rankings alone."""
    scores: dict[int, np.ndarray] = {}
    for source in {ranking.source for ranking in unseen}:
        floor = TextFloor([ranking for ranking in learnt if ranking.source == source])
        rows = [n for n, ranking in enumerate(unseen) if ranking.source == source]
        scores |= dict(zip(rows, floor.scores([unseen[n] for n in rows]), strict=True))
    return [scores[n] for n in range(len(unseen))]


def _headline(figures: Mapping[str, Any]) -> dict[str, float]:
    pooled = figures["pooled"]
    named = {
        "accuracy": pooled["accuracy"]["value"],
        "accuracy n": pooled["accuracy"]["n"],
        "floor": pooled["floor"]["value"],
        "longer": pooled["longer"]["value"],
        "over_floor": pooled["over_floor"]["value"],
        "over_floor se": pooled["over_floor"]["standard_error"],
        "length_correlation": pooled["spearman"]["value"],
        "calibration_error": figures["calibration"]["error"],
        "flags": len(figures["flags"]),
    }
    for name, cut in figures["persons"].items():  # rule R8
        named |= {f"accuracy, people {name}": cut["accuracy"]["value"]}
    return {name: float(value) for name, value in named.items() if value is not None}
