"""Reward and value models: a decoder trunk with a scalar head.

The reward model may read, beside the text, how surprising each token is to frozen language
models (`surprise`): small networks cannot check a fact by themselves, but a false one is an
improbable token for a model that has read the documents. The surprise is an input, never a term
of the score, so the score stays bounded and free of a length bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from parley.model.kernels import chosen_and_best
from parley.model.language_model import LanguageModel
from parley.model.sight import Sight

Pooling = Literal["last", "last+mean"]

NUM_SURPRISES: Final = 3  # figures a frozen model gives for every token
SURPRISE_LIMIT: Final = 6.0  # nats
CONFIDENCE_LIMIT: Final = -4.0  # nats


class ValueModel(nn.Module):
    """A trunk with a linear head that starts at zero (rule P20): before training every state is
    worth nothing."""

    def __init__(self, trunk: LanguageModel) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(trunk.config.width, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(
        self,
        tokens: Int[Tensor, "B T"],
        positions: Int[Tensor, "B T"],
        sight: Sight | Float[Tensor, "B 1 T T"],
    ) -> Float[Tensor, "B T"]:
        """The value, in units of score, of the state after each token."""
        values: Tensor = self.head(self.trunk(tokens, positions, sight))
        return values.squeeze(-1)


class RewardModel(nn.Module):
    """A trunk, a two-layer head on a reply's last token, and the frozen `readers` of surprise.

    With `pooling` "last+mean" the head reads beside the last state the mean over all states of the
    reply. The last layer starts with standard deviation 1/sqrt(width + 1) and bias 0 (rule R4). `shift`
    is subtracted from every score: the mean score of demonstrations after training (rule R5).
    """

    shift: Float[Tensor, ""]

    def __init__(
        self, trunk: LanguageModel, readers: Sequence[LanguageModel], *, pooling: Pooling = "last"
    ) -> None:
        super().__init__()
        width = trunk.config.width
        self.trunk = trunk
        self.pooling = pooling
        self.surprises = nn.ModuleList(nn.Linear(NUM_SURPRISES, width, bias=False) for _ in readers)
        self.hidden = nn.Linear(width if pooling == "last" else 2 * width, width)
        self.score = nn.Linear(width, 1)
        nn.init.normal_(self.score.weight, std=(width + 1) ** -0.5)
        nn.init.zeros_(self.score.bias)
        self.register_buffer("shift", torch.zeros(()))
        self._readers = tuple(reader.requires_grad_(False) for reader in readers)  # not in the state dict

    @property
    def readers(self) -> tuple[LanguageModel, ...]:
        """The frozen models whose surprise is read."""
        return self._readers

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.score.weight.device

    def forward(
        self,
        tokens: Int[Tensor, "B T"],
        positions: Int[Tensor, "B T"],
        sight: Sight | Float[Tensor, "B 1 T T"],
        features: Sequence[Float[Tensor, "B T 3"]],
    ) -> Float[Tensor, "B T D"]:
        """The state after each token."""
        extra = torch.zeros((), device=tokens.device)
        for layer, feature in zip(self.surprises, features, strict=True):
            extra = extra + layer(feature)
        return cast("Tensor", self.trunk(tokens, positions, sight, extra=extra if self.surprises else None))

    def judge(
        self, states: Float[Tensor, "B T D"], last: Int[Tensor, " N"], owners: Int[Tensor, "B T"]
    ) -> Float[Tensor, " N"]:
        """The score of each reply. `last` is the flat index of its last token; `owners` names the reply
        that each token belongs to, -1 for those of histories and padding."""
        flat = states.flatten(0, 1)
        read = flat[last]
        if self.pooling == "last+mean":
            read = torch.cat([read, _means(flat, owners.flatten(), len(last))], -1)
        score: Tensor = self.score(functional.gelu(self.hidden(read))).squeeze(-1)
        return score - self.shift

    @torch.no_grad()
    def rescale(self, gain: float, bias: float) -> None:
        """From now on a score is `gain` times what it was, plus `bias` (rule R6)."""
        self.score.weight.mul_(gain)
        self.score.bias.mul_(gain)
        self.shift.mul_(gain).sub_(bias)


class RewardCritic(nn.Module):
    """A critic that starts as the reward model, head and bias included (rule P20): the value of a state is
    the score that the reply would have if it were over, in the normalised units of PPO's scores.

    So after the last token the value is the score, exactly; before it, a guess that learning improves.
    """

    mean: Float[Tensor, ""]
    deviation: Float[Tensor, ""]

    def __init__(self, reward: RewardModel) -> None:
        super().__init__()
        self.reward = reward
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))

    def use_units(self, mean: float, deviation: float) -> None:
        """A score less `mean`, divided by `deviation`, is what PPO calls a score."""
        self.mean.fill_(mean)
        self.deviation.fill_(deviation)

    def values(
        self,
        states: Float[Tensor, "B T D"],
        segments: Int[Tensor, "B T"],
        inside: Bool[Tensor, "B T"],
    ) -> Float[Tensor, "B T"]:
        """The value of the state after each token; `inside` marks the tokens of replies."""
        read = states
        if self.reward.pooling == "last+mean":
            read = torch.cat([states, _running_means(states, segments, inside)], -1)
        scores: Tensor = self.reward.score(functional.gelu(self.reward.hidden(read))).squeeze(-1)
        return (scores - self.reward.shift - self.mean) / self.deviation


class RewardEnsemble(nn.Module):
    """Reward models of one data set, trained in different orders from different heads: their mean score.

    All of them read the surprise of the first one's readers, which are the same.
    """

    def __init__(self, members: Sequence[RewardModel]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    @property
    def each(self) -> tuple[RewardModel, ...]:
        """The members."""
        return tuple(cast("RewardModel", member) for member in self.members)

    @property
    def readers(self) -> tuple[LanguageModel, ...]:
        """The frozen models whose surprise is read."""
        return self.each[0].readers

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.each[0].device


def _means(states: Float[Tensor, "M D"], owners: Int[Tensor, " M"], count: int) -> Float[Tensor, "{count} D"]:
    """The mean state of each reply's tokens; 0 for a reply without any."""
    inside = owners >= 0
    owned = owners[inside]
    sums = states.new_zeros(count, states.shape[1]).index_add(0, owned, states[inside])
    return sums / torch.bincount(owned, minlength=count).clamp(min=1)[:, None]


def _running_means(
    states: Float[Tensor, "B T D"], segments: Int[Tensor, "B T"], inside: Bool[Tensor, "B T"]
) -> Float[Tensor, "B T D"]:
    """At every token: the mean state of its reply's tokens so far; 0 before the reply begins."""
    begins = functional.pad(segments[:, 1:] != segments[:, :-1], (1, 0), value=True)
    places = torch.arange(segments.shape[1], device=segments.device)
    first = torch.where(begins, places, 0).cummax(1).values  # where the segment of each token begins
    sums = functional.pad((states * inside[..., None]).cumsum(1), (0, 0, 1, 0))
    counts = functional.pad(inside.long().cumsum(1), (1, 0))
    total = sums[:, 1:] - sums.gather(1, first[..., None].expand_as(states))
    count = counts[:, 1:] - counts.gather(1, first)
    return total / count.clamp(min=1)[..., None]


def surprise(
    reader: LanguageModel,
    tokens: Int[Tensor, "B T"],
    positions: Int[Tensor, "B T"],
    sight: Sight | Float[Tensor, "B 1 T T"],
    previous: Int[Tensor, "B T"],
) -> Float[Tensor, "B T 3"]:
    """For every token: its negative log-probability, its margin to the most probable token (both
    in nats, at most 6) and the log-probability of that token (at least -4); 0 for first tokens.

    `previous` is the flat index of the position that predicts each token.
    """
    hidden = reader(tokens, positions, sight).flatten(0, 1)[previous]
    read = chosen_and_best(hidden.flatten(0, 1), reader.head_weight, tokens.flatten())
    chosen, best = (figure.view(tokens.shape) for figure in read)
    figures = [
        (-chosen).clamp(max=SURPRISE_LIMIT),
        (best - chosen).clamp(max=SURPRISE_LIMIT),
        best.clamp(min=CONFIDENCE_LIMIT),
    ]
    return torch.stack(figures, dim=-1).masked_fill((positions == 0)[..., None], 0.0)
