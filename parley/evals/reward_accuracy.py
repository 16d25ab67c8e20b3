"""How often a reward model prefers the reply that people preferred.

Ties are left out; the pairs of one ranking are one cluster of the interval. Figures stand by
source, because length is a shortcut in some sets and a wrong one in others.
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
    """Accuracy over all strict pairs under "", and for each source under its name.

    Two replies with equal scores count half.
    """
    if not rankings:
        return {}
    hits, sizes = pair_hits(loaded, rankings)
    sources = np.array([ranking.source for ranking in rankings])
    chosen = {"": np.ones(len(rankings), bool), **{name: sources == name for name in sorted(set(sources))}}
    return {str(name): clustered_rate(hits[rows], sizes[rows]) for name, rows in chosen.items()}


def pair_hits(loaded: LoadedReward, rankings: Sequence[Ranking]) -> tuple[np.ndarray, np.ndarray]:
    """For each ranking: strict pairs ordered as people did, and how many there are."""
    groups = ranked_replies(rankings, loaded, context=loaded.context)
    scores = score_groups(loaded.model, groups, pad=loaded.tokenizer.pad).cpu().numpy()
    hits = np.zeros(len(groups))
    for n, (replies, pairs) in enumerate(zip(groups.replies, groups.pairs, strict=True)):
        margins = np.array([scores[replies[p.better]] - scores[replies[p.worse]] for p in pairs])
        hits[n] = (margins > 0).sum() + 0.5 * (margins == 0).sum()
    return hits, np.array([len(pairs) for pairs in groups.pairs])
