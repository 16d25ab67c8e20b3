"""Forward passes of policy, value and reward over packed rows: one alignment for all.

Index `t` speaks of the token at `t`: its log-probability, and the value of the state before it,
both read from the hidden state at `t - 1`. Off the mask: 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional

from parley.model.heads import RewardEnsemble, RewardModel, ValueModel, surprise
from parley.model.language_model import LanguageModel
from parley.rlhf.batches import (
    PACKED_REPLIES,
    Batch,
    ReplyBatch,
    TokenSet,
    in_order_batches,
    packed_batch,
    portions,
    reply_batch,
)
from parley.rlhf.groups import GroupBatch, RankedReplies, group_batch


def supervised_logprobs(decoder: LanguageModel, batch: Batch) -> Float[Tensor, " M"]:
    """log π of the masked tokens, row by row; the head runs at these positions only."""
    hidden = decoder(batch.tokens, batch.positions, batch.bias)
    return decoder.token_logprobs(hidden[:, :-1][batch.mask[:, 1:]], batch.tokens[:, 1:][batch.mask[:, 1:]])


def policy_logprobs(
    decoder: LanguageModel, replies: ReplyBatch, *, temperature: float
) -> Float[Tensor, "B T"]:
    """log π of the response tokens, one reply a row, 0 elsewhere; the temperature is that of the
    sampler (rule P1)."""
    batch = replies.packed
    hidden = decoder(batch.tokens, batch.positions, batch.bias)
    chosen = batch.mask[:, 1:]
    return replies.spread(
        decoder.token_logprobs(hidden[:, :-1][chosen], batch.tokens[:, 1:][chosen], temperature)
    )


def over_replies(
    examples: TokenSet,
    read: Callable[[ReplyBatch], Shaped[Tensor, "B T"]],
    *,
    pad: int,
    device: str,
    batch_tokens: int = 32_768,
) -> Shaped[Tensor, "N W"]:
    """What `read` says of every example, one a row, a portion of them at a time."""
    width = int(examples.lengths.max())
    found = []
    for rows in portions(examples.lengths, batch_tokens=batch_tokens):
        part = read(reply_batch(examples, rows, pad=pad, device=device))
        found.append(functional.pad(part, (0, width - part.shape[1])))
    return found[0] if len(found) == 1 else torch.cat(found)


def state_values(model: ValueModel, replies: ReplyBatch) -> Float[Tensor, "B T"]:
    """The value of the state before each response token, one reply a row, 0 elsewhere."""
    batch = replies.packed
    values: Tensor = model(batch.tokens, batch.positions, batch.bias)
    return replies.spread(values[:, :-1][batch.mask[:, 1:]])


class Judged(NamedTuple):
    """One score for each reply of a batch, and the states that they were read from."""

    scores: Float[Tensor, " N"]
    states: Float[Tensor, "B T D"]


def judged(model: RewardModel, batch: Batch | GroupBatch) -> Judged:
    """Scores of the examples or replies of the batch, read at their last tokens (rule R7)."""
    bias = batch.bias
    return _judged(model, batch, bias, _surprises(model.readers, batch, bias))


def reward_scores(model: RewardModel | RewardEnsemble, batch: Batch | GroupBatch) -> Float[Tensor, " N"]:
    """One score for each example or reply of the batch; of an ensemble, the mean of its members'."""
    bias = batch.bias
    features = _surprises(model.readers, batch, bias)
    members = model.each if isinstance(model, RewardEnsemble) else (model,)
    scores = [_judged(member, batch, bias, features).scores for member in members]
    return scores[0] if len(scores) == 1 else torch.stack(scores).mean(0)


def _judged(model: RewardModel, batch: Batch | GroupBatch, bias: Tensor, features: list[Tensor]) -> Judged:
    states: Tensor = model(batch.tokens, batch.positions, bias, features)
    return Judged(model.judge(states, batch.last, batch.owners), states)


@torch.no_grad()
def _surprises(
    readers: Sequence[LanguageModel], batch: Batch | GroupBatch, bias: Tensor
) -> list[Float[Tensor, "B T 3"]]:
    return [surprise(reader, batch.tokens, batch.positions, bias, batch.previous) for reader in readers]


def reply_logprobs(
    model: RewardModel, batch: GroupBatch, states: Float[Tensor, "B T D"], chosen: Sequence[int]
) -> Float[Tensor, " M"]:
    """log π of every token of the chosen replies, by the reward model's own trunk as a language model."""
    inside = torch.isin(batch.owners, torch.tensor(list(chosen), device=batch.owners.device))
    before = states.flatten(0, 1)[batch.previous[inside]]
    return model.trunk.token_logprobs(before, batch.tokens[inside])


@torch.no_grad()
def score_all(
    model: RewardModel | RewardEnsemble, examples: TokenSet, *, pad: int, batch_tokens: int = 8192
) -> Float[Tensor, " N"]:
    """The score of every example, in their order; its supervised tokens are the reply."""
    width = int(examples.lengths.max(initial=PACKED_REPLIES))
    device = model.device
    found = []
    for rows in in_order_batches(examples, row_tokens=width, batch_tokens=batch_tokens):
        scores = reward_scores(model, packed_batch(examples, rows, pad=pad, device=str(device)))
        order = np.argsort([index for row in rows for index in row])
        found.append(scores[torch.from_numpy(order).to(device)])
    return torch.cat(found) if found else torch.zeros(0, device=device)


@torch.no_grad()
def score_groups(
    model: RewardModel | RewardEnsemble, groups: RankedReplies, *, pad: int, batch_tokens: int = 8192
) -> Float[Tensor, " N"]:
    """The score of every reply of every ranking, as `groups.answers` counts them."""
    device = model.device
    result = torch.zeros(len(groups.answers), device=device)
    for chosen in groups.portions(batch_tokens):
        batch, place = group_batch(groups, chosen, pad=pad, device=str(device))
        result[torch.tensor(list(place), device=device)] = reward_scores(model, batch)
    return result
