"""One step's loss of the reward model over whole rankings, and its measuring on others.

The ranking loss itself is `rlhf.losses.ranking_loss`; here it meets tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from parley.model.heads import RewardModel
from parley.rlhf.copies import WeightCopy
from parley.rlhf.forward import judged, reply_logprobs, score_groups
from parley.rlhf.groups import RankedReplies, group_batch
from parley.rlhf.losses import RankingLoss, ranking_loss

BEST: Final = "best validation loss"
STALE: Final = "looks without a better one"


class PreferenceLoss(NamedTuple):
    """`total` to minimise; the parts of it, in nats, and the accuracy over the batch's pairs."""

    total: Float[Tensor, ""]
    ranking: RankingLoss
    language: float


def preference_loss(
    model: RewardModel,
    groups: RankedReplies,
    chosen: Sequence[int],
    *,
    pad: int,
    score_penalty: float,
    language_weight: float = 0.0,
) -> PreferenceLoss:
    """Eq. 1 over the chosen rankings, with a price on large scores.

    With `language_weight` the mean negative log-likelihood of the best replies' tokens is added,
    which keeps the trunk a language model while it learns from few rankings.
    """
    device = str(model.score.weight.device)
    batch, place = group_batch(groups, chosen, pad=pad, device=device)
    found = judged(model, batch)
    ranking = _ranking_loss(found.scores, groups, chosen, place)
    total = ranking.loss + score_penalty * (found.scores**2).mean()
    if not language_weight:
        return PreferenceLoss(total, ranking, 0.0)
    best = [place[reply] for group in chosen for reply in best_replies(groups, group)]
    loss = (
        -reply_logprobs(model, batch, found.states, best).mean() if best else torch.zeros((), device=device)
    )
    return PreferenceLoss(total + language_weight * loss, ranking, loss.item())


def best_replies(groups: RankedReplies, group: int) -> list[int]:
    """The replies of a ranking that won and never lost, each once."""
    won = dict.fromkeys(groups.replies[group][pair.better] for pair in groups.pairs[group])
    lost = {groups.replies[group][pair.worse] for pair in groups.pairs[group]}
    return [reply for reply in won if reply not in lost]


@torch.no_grad()
def unseen_loss(model: RewardModel, groups: RankedReplies, *, pad: int) -> RankingLoss:
    """The ranking loss over rankings that nothing is learnt from."""
    scores = score_groups(model, groups, pad=pad)
    return _ranking_loss(scores, groups, range(len(groups)), {n: n for n in range(len(scores))})


def _ranking_loss(
    scores: Tensor, groups: RankedReplies, chosen: Sequence[int], place: Mapping[int, int]
) -> RankingLoss:
    pairs = [
        (place[groups.replies[group][pair.better]], place[groups.replies[group][pair.worse]], n)
        for n, group in enumerate(chosen)
        for pair in groups.pairs[group]
    ]
    better, worse, owner = torch.tensor(pairs, device=scores.device).T
    return ranking_loss(scores, better, worse, owner, num_groups=len(chosen))


class EarlyStopping:
    """The weights with the lowest loss on rankings that were kept out of the steps.

    Everything that later steps depend on lies in `copy` and in the saved `values`, so that a resumed
    run stops where the undisturbed one does (rule C1).
    """

    def __init__(
        self, model: RewardModel, measure: Callable[[], RankingLoss], *, every: int, patience: int
    ) -> None:
        self.copy = WeightCopy(model)
        self._model, self._measure, self._every, self._patience = model, measure, every, patience

    def look(self, step: int, total: int, values: dict[str, float]) -> dict[str, float]:
        """The loss after this step, where it is time to look; the best weights are kept."""
        if (step + 1) % self._every and step + 1 < total:
            return {}
        loss, accuracy = (figure.item() for figure in self._measure())
        if loss < values.get(BEST, float("inf")):
            values |= {BEST: loss, STALE: 0.0, "best step": float(step + 1)}
            self.copy.take(self._model)
        else:
            values[STALE] += 1
        return {"validation_loss": loss, "validation_accuracy": accuracy}

    def exhausted(self, values: Mapping[str, float]) -> bool:
        """Whether it has looked `patience` times in vain; 0 is endless patience."""
        return 0 < self._patience <= values.get(STALE, 0.0)

    def finish(self) -> None:
        """The model gets the best weights back."""
        self.copy.give(self._model)
