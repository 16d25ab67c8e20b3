"""Forward passes of policy, value and reward over a `Batch`: one alignment for all.

Index `t` speaks of the token at `t`: its log-probability, and the value of the state before it,
both read from the hidden state at `t - 1`. Off the mask: 0.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from parley.model.decoder import Decoder
from parley.model.heads import RewardModel, ValueModel, surprise
from parley.rlhf.batches import Batch, TokenSet, in_order_batches, packed_batch


def supervised_logprobs(decoder: Decoder, batch: Batch) -> Float[Tensor, " M"]:
    """log π of the masked tokens, row by row; the head runs at these positions only."""
    hidden = decoder(batch.tokens, batch.positions, batch.bias)
    return decoder.token_logprobs(hidden[:, :-1][batch.mask[:, 1:]], batch.tokens[:, 1:][batch.mask[:, 1:]])


def policy_logprobs(decoder: Decoder, batch: Batch, *, temperature: float) -> Float[Tensor, "B T"]:
    """log π of the masked tokens in place, 0 elsewhere; the temperature is that of the sampler
    (rule P1)."""
    hidden = decoder(batch.tokens, batch.positions, batch.bias)
    chosen = batch.mask[:, 1:]
    logprobs = decoder.token_logprobs(hidden[:, :-1][chosen], batch.tokens[:, 1:][chosen], temperature)
    result = torch.zeros(batch.mask.shape, dtype=logprobs.dtype, device=logprobs.device)
    return result.masked_scatter(batch.mask, logprobs)


def state_values(model: ValueModel, batch: Batch) -> Float[Tensor, "B T"]:
    """The value of the state before each masked token, 0 elsewhere."""
    values = model(batch.tokens, batch.positions, batch.bias)
    shifted = torch.cat([torch.zeros_like(values[:, :1]), values[:, :-1]], dim=1)
    return shifted.masked_fill(~batch.mask, 0.0)


def reward_scores(model: RewardModel, batch: Batch) -> Float[Tensor, " N"]:
    """One score for each example of the batch, read at its last token (rule R7)."""
    bias = batch.bias
    with torch.no_grad():
        features = [surprise(reader, batch.tokens, batch.positions, bias) for reader in model.readers]
    scores: Tensor = model(batch.tokens, batch.positions, bias, batch.last, features)
    return scores


@torch.no_grad()
def score_all(
    model: RewardModel, examples: TokenSet, *, pad: int, batch_tokens: int = 8192
) -> Float[Tensor, " N"]:
    """The score of every example, in their order."""
    width = int(examples.lengths.max(initial=1))
    device = model.score.weight.device
    found = []
    for rows in in_order_batches(examples, row_tokens=width, batch_tokens=batch_tokens):
        scores = reward_scores(model, packed_batch(examples, rows, pad=pad, device=str(device)))
        order = np.argsort([index for row in rows for index in row])
        found.append(scores[torch.from_numpy(order).to(device)])
    return torch.cat(found) if found else torch.zeros(0, device=device)
