"""One step's loss of the reward model over whole rankings, and its measuring on others.

The ranking loss itself is `rlhf.losses.ranking_loss`; here it meets tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from parley.model.heads import RewardModel
from parley.rlhf.batches import portions
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


@dataclass(frozen=True, slots=True)
class Whole:
    """What the means of a step are over, also where it is read in portions: rankings, their strict pairs,
    different replies, tokens of the best ones."""

    rankings: int
    pairs: int
    replies: int
    best_tokens: int

    @classmethod
    def of(cls, groups: RankedReplies, chosen: Sequence[int]) -> Whole:
        """Counted over the chosen rankings."""
        lengths = groups.answers.lengths
        best = [reply for group in chosen for reply in best_replies(groups, group)]
        return cls(
            rankings=sum(bool(groups.pairs[group]) for group in chosen),
            pairs=sum(len(groups.pairs[group]) for group in chosen),
            replies=sum(len(groups.distinct(group)) for group in chosen),
            best_tokens=int(lengths[best].sum()),
        )


def preference_losses(
    model: RewardModel,
    groups: RankedReplies,
    chosen: Sequence[int],
    *,
    pad: int,
    score_penalty: float,
    language_weight: float = 0.0,
    margin: float = 0.0,
    micro_tokens: int = 0,
    seen: list[PreferenceLoss],
) -> Iterator[Callable[[], Tensor]]:
    """The loss of one step in parts that add up to it, each computed when called and noted in `seen`.

    Whole rankings of at most `micro_tokens` tokens make a part (0: all of them), so none is ever split.
    """
    whole = Whole.of(groups, chosen)
    sizes = [groups.num_tokens(group) for group in chosen]
    for places in portions(sizes, batch_tokens=micro_tokens or sum(sizes)):
        part = [chosen[n] for n in places]

        def compute(part: Sequence[int] = part) -> Tensor:
            seen.append(
                preference_loss(
                    model,
                    groups,
                    part,
                    pad=pad,
                    score_penalty=score_penalty,
                    language_weight=language_weight,
                    margin=margin,
                    whole=whole,
                )
            )
            return seen[-1].total

        yield compute


def preference_loss(
    model: RewardModel,
    groups: RankedReplies,
    chosen: Sequence[int],
    *,
    pad: int,
    score_penalty: float,
    language_weight: float = 0.0,
    margin: float = 0.0,
    whole: Whole | None = None,
) -> PreferenceLoss:
    """Eq. 1 over the chosen rankings, with a price on large scores.

    With `language_weight` the mean negative log-likelihood of the best replies' tokens is added,
    which keeps the trunk a language model while it learns from few rankings. `margin` is asked for per
    rank between two replies. Where the rankings are a part of a step, `whole` is all of it, and every
    figure is the part's share.
    """
    step = whole or Whole.of(groups, chosen)
    device = str(model.score.weight.device)
    batch, place = group_batch(groups, chosen, pad=pad, device=device)
    found = judged(model, batch)
    ranking = _share(_ranking_loss(found.scores, groups, chosen, place, margin=margin), groups, chosen, step)
    total = ranking.loss + score_penalty * (found.scores**2).sum() / step.replies
    if not language_weight:
        return PreferenceLoss(total, ranking, 0.0)
    best = [place[reply] for group in chosen for reply in best_replies(groups, group)]
    if not best:
        return PreferenceLoss(total, ranking, 0.0)
    loss = -reply_logprobs(model, batch, found.states, best).sum() / step.best_tokens
    return PreferenceLoss(total + language_weight * loss, ranking, loss.item())


def _share(ranking: RankingLoss, groups: RankedReplies, chosen: Sequence[int], step: Whole) -> RankingLoss:
    """A part's means as its share of the step's; of a whole step they are what they were."""
    counted = sum(bool(groups.pairs[group]) for group in chosen)
    pairs = sum(len(groups.pairs[group]) for group in chosen)
    if (counted, pairs) == (step.rankings, step.pairs):
        return ranking
    return RankingLoss(
        ranking.loss * (counted / max(1, step.rankings)), ranking.accuracy * (pairs / max(1, step.pairs))
    )


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
    scores: Tensor,
    groups: RankedReplies,
    chosen: Sequence[int],
    place: Mapping[int, int],
    *,
    margin: float = 0.0,
) -> RankingLoss:
    pairs = [
        (place[groups.replies[group][pair.better]], place[groups.replies[group][pair.worse]], n)
        for n, group in enumerate(chosen)
        for pair in groups.pairs[group]
    ]
    better, worse, owner = torch.tensor(pairs, dtype=torch.long, device=scores.device).reshape(-1, 3).T
    gaps = [gap for group in chosen for gap in groups.gaps[group]] if margin else []
    margins = margin * torch.tensor(gaps, device=scores.device, dtype=torch.float32) if margin else None
    return ranking_loss(scores, better, worse, owner, num_groups=len(chosen), margins=margins)


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
