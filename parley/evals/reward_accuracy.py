"""How often a reward model prefers the reply that people preferred.

Ties are left out; the pairs of one ranking are one cluster of the interval. Figures stand by
source, because length is a shortcut in some sets and a wrong one in others. `parley score` and the
reward report (`evals.reward_report`) both come here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from parley.evals.statistics import Estimate, clustered_rate
from parley.labels import Ranking
from parley.model.reward_checkpoint import LoadedReward
from parley.rlhf.forward import score_groups
from parley.rlhf.groups import ranked_replies


def accuracies(loaded: LoadedReward, rankings: Sequence[Ranking]) -> Mapping[str, Estimate]:
    """Accuracy over all strict pairs under "", and for each source under its name."""
    if not rankings:
        return {}
    hits, sizes = hits_of(rankings, ranking_scores(loaded, rankings))
    sources = np.array([ranking.source for ranking in rankings])
    chosen = {"": np.ones(len(rankings), bool), **{name: sources == name for name in sorted(set(sources))}}
    return {str(name): clustered_rate(hits[rows], sizes[rows]) for name, rows in chosen.items()}


def ranking_scores(loaded: LoadedReward, rankings: Sequence[Ranking]) -> list[np.ndarray]:
    """The reward model's score of every reply, ranking by ranking."""
    groups = ranked_replies(rankings, loaded, context=loaded.context)
    scores = score_groups(loaded.model, groups, pad=loaded.tokenizer.pad).cpu().numpy()
    return [scores[list(replies)] for replies in groups.replies]


def hits_of(rankings: Sequence[Ranking], scores: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """For each ranking: strict pairs that the scores order as people did, and how many there are.

    Two replies with equal scores count half.
    """
    margins = [margins_of(ranking, found) for ranking, found in zip(rankings, scores, strict=True)]
    hits = np.array([(gaps > 0).sum() + 0.5 * (gaps == 0).sum() for gaps in margins], dtype=float)
    return hits, np.array([len(gaps) for gaps in margins])


def margins_of(ranking: Ranking, scores: np.ndarray) -> np.ndarray:
    """Score of better less score of worse, over the ranking's strict pairs."""
    return np.array([scores[pair.better] - scores[pair.worse] for pair in ranking.comparisons()], dtype=float)
