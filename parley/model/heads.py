"""Reward and value models: a decoder trunk with a scalar head.

The reward model may read, beside the text, how surprising each token is to frozen language
models (`surprise`): small networks cannot check a fact by themselves, but a false one is an
improbable token for a model that has read the documents. The surprise is an input, never a term
of the score, so the score stays bounded and free of a length bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from parley.model.decoder import Decoder

NUM_SURPRISES: Final = 3  # figures a frozen model gives for every token
SURPRISE_LIMIT: Final = 6.0  # nats
CONFIDENCE_LIMIT: Final = -4.0  # nats


class ValueModel(nn.Module):
    """A trunk with a linear head that starts at zero (rule P20): before training every state is
    worth nothing."""

    def __init__(self, trunk: Decoder) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(trunk.config.width, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(
        self, tokens: Int[Tensor, "B T"], positions: Int[Tensor, "B T"], bias: Float[Tensor, "B 1 T T"]
    ) -> Float[Tensor, "B T"]:
        """The value, in units of score, of the state after each token."""
        values: Tensor = self.head(self.trunk(tokens, positions, bias))
        return values.squeeze(-1)


class RewardModel(nn.Module):
    """A trunk, a two-layer head on an example's last token, and the frozen `readers` of surprise.

    The last layer starts with standard deviation 1/sqrt(width + 1) and bias 0 (rule R4). `shift`
    is subtracted from every score: the mean score of demonstrations after training (rule R5).
    """

    shift: Float[Tensor, ""]

    def __init__(self, trunk: Decoder, readers: Sequence[Decoder]) -> None:
        super().__init__()
        width = trunk.config.width
        self.trunk = trunk
        self.surprises = nn.ModuleList(nn.Linear(NUM_SURPRISES, width, bias=False) for _ in readers)
        self.hidden = nn.Linear(width, width)
        self.score = nn.Linear(width, 1)
        nn.init.normal_(self.score.weight, std=(width + 1) ** -0.5)
        nn.init.zeros_(self.score.bias)
        self.register_buffer("shift", torch.zeros(()))
        self._readers = tuple(reader.requires_grad_(False) for reader in readers)  # not in the state dict

    @property
    def readers(self) -> tuple[Decoder, ...]:
        """The frozen models whose surprise is read."""
        return self._readers

    def forward(
        self,
        tokens: Int[Tensor, "B T"],
        positions: Int[Tensor, "B T"],
        bias: Float[Tensor, "B 1 T T"],
        last: Int[Tensor, " N"],
        features: Sequence[Float[Tensor, "B T 3"]],
    ) -> Float[Tensor, " N"]:
        """The score of each example; `last` is the flat index of its last token."""
        extra = torch.zeros((), device=tokens.device)
        for layer, feature in zip(self.surprises, features, strict=True):
            extra = extra + layer(feature)
        hidden = self.trunk(tokens, positions, bias, extra=extra if self.surprises else None)
        ends = hidden.flatten(0, 1)[last]
        score: Tensor = self.score(functional.gelu(self.hidden(ends))).squeeze(-1)
        return score - self.shift


def surprise(
    reader: Decoder,
    tokens: Int[Tensor, "B T"],
    positions: Int[Tensor, "B T"],
    bias: Float[Tensor, "B 1 T T"],
    previous: Int[Tensor, "B T"],
) -> Float[Tensor, "B T 3"]:
    """For every token: its negative log-probability, its margin to the most probable token (both
    in nats, at most 6) and the log-probability of that token (at least -4); 0 for first tokens.

    `previous` is the flat index of the position that predicts each token.
    """
    hidden = reader(tokens, positions, bias).flatten(0, 1)[previous]
    logprobs = functional.log_softmax(reader.logits(hidden), dim=-1)
    best = logprobs.amax(-1)
    chosen = logprobs.gather(-1, tokens[..., None]).squeeze(-1)
    figures = torch.stack(
        [
            (-chosen).clamp(max=SURPRISE_LIMIT),
            (best - chosen).clamp(max=SURPRISE_LIMIT),
            best.clamp(min=CONFIDENCE_LIMIT),
        ],
        dim=-1,
    )
    return figures.masked_fill((positions == 0)[..., None], 0.0)
