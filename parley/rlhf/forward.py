"""Forward passes of policy, value and reward over packed rows: one alignment for all.

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
from parley.rlhf.batches import PACKED_REPLIES, Batch, ReplyBatch, TokenSet, in_order_batches, packed_batch
from parley.rlhf.groups import GroupBatch, RankedReplies, group_batch


def supervised_logprobs(decoder: Decoder, batch: Batch) -> Float[Tensor, " M"]:
    """log π of the masked tokens, row by row; the head runs at these positions only."""
    hidden = decoder(batch.tokens, batch.positions, batch.bias)
    return decoder.token_logprobs(hidden[:, :-1][batch.mask[:, 1:]], batch.tokens[:, 1:][batch.mask[:, 1:]])


def policy_logprobs(decoder: Decoder, replies: ReplyBatch, *, temperature: float) -> Float[Tensor, "B T"]:
    """log π of the response tokens, one reply a row, 0 elsewhere; the temperature is that of the
    sampler (rule P1)."""
    batch = replies.packed
    hidden = decoder(batch.tokens, batch.positions, batch.bias)
    chosen = batch.mask[:, 1:]
    return replies.spread(
        decoder.token_logprobs(hidden[:, :-1][chosen], batch.tokens[:, 1:][chosen], temperature)
    )


def state_values(model: ValueModel, replies: ReplyBatch) -> Float[Tensor, "B T"]:
    """The value of the state before each response token, one reply a row, 0 elsewhere."""
    batch = replies.packed
    values: Tensor = model(batch.tokens, batch.positions, batch.bias)
    return replies.spread(values[:, :-1][batch.mask[:, 1:]])


def reward_scores(model: RewardModel, batch: Batch | GroupBatch) -> Float[Tensor, " N"]:
    """One score for each example or reply of the batch, read at its last token (rule R7)."""
    bias = batch.bias
    with torch.no_grad():
        features = [
            surprise(reader, batch.tokens, batch.positions, bias, batch.previous) for reader in model.readers
        ]
    scores: Tensor = model(batch.tokens, batch.positions, bias, batch.last, features)
    return scores


@torch.no_grad()
def score_all(
    model: RewardModel, examples: TokenSet, *, pad: int, batch_tokens: int = 8192
) -> Float[Tensor, " N"]:
    """The score of every example, in their order."""
    width = int(examples.lengths.max(initial=PACKED_REPLIES))
    device = model.score.weight.device
    found = []
    for rows in in_order_batches(examples, row_tokens=width, batch_tokens=batch_tokens):
        scores = reward_scores(model, packed_batch(examples, rows, pad=pad, device=str(device)))
        order = np.argsort([index for row in rows for index in row])
        found.append(scores[torch.from_numpy(order).to(device)])
    return torch.cat(found) if found else torch.zeros(0, device=device)


@torch.no_grad()
def score_groups(
    model: RewardModel, groups: RankedReplies, *, pad: int, at_once: int = 64
) -> Float[Tensor, " N"]:
    """The score of every reply of every ranking, as `groups.answers` counts them."""
    device = model.score.weight.device
    result = torch.zeros(len(groups.answers), device=device)
    for start in range(0, len(groups), at_once):
        chosen = range(start, min(start + at_once, len(groups)))
        batch, place = group_batch(groups, chosen, pad=pad, device=str(device))
        result[torch.tensor(list(place), device=device)] = reward_scores(model, batch)
    return result
