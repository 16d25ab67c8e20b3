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

from parley.model.heads import RewardCritic, RewardEnsemble, RewardModel, ValueModel, surprise
from parley.model.language_model import LanguageModel
from parley.model.sight import Sight
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
    hidden = decoder(batch.tokens, batch.positions, batch.sight)
    return decoder.token_logprobs(hidden[:, :-1][batch.mask[:, 1:]], batch.tokens[:, 1:][batch.mask[:, 1:]])


def policy_logprobs(
    decoder: LanguageModel, replies: ReplyBatch, *, temperature: float
) -> Float[Tensor, "B T"]:
    """log π of the response tokens, one reply a row, 0 elsewhere; the temperature is that of the
    sampler (rule P1)."""
    batch = replies.packed
    hidden = decoder(batch.tokens, batch.positions, batch.sight)
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


Critic = ValueModel | RewardCritic


def state_values(model: Critic, replies: ReplyBatch) -> Float[Tensor, "B T"]:
    """The value of the state before each response token, one reply a row, 0 elsewhere."""
    batch = replies.packed
    return replies.spread(_values_after(model, batch)[:, :-1][batch.mask[:, 1:]])


def state_and_end_values(
    model: Critic, replies: ReplyBatch
) -> tuple[Float[Tensor, "B T"], Float[Tensor, " B"]]:
    """The values before each response token, and the value after the last one of each reply."""
    batch = replies.packed
    values = _values_after(model, batch)
    return replies.spread(values[:, :-1][batch.mask[:, 1:]]), values.flatten()[batch.last[replies.rank]]


def _values_after(model: Critic, batch: Batch) -> Float[Tensor, "B T"]:
    """The value of the state after each token."""
    sight = batch.sight
    if isinstance(model, ValueModel):
        found: Tensor = model(batch.tokens, batch.positions, sight)
        return found
    features = _surprises(model.reward.readers, batch, sight)
    states: Tensor = model.reward(batch.tokens, batch.positions, sight, features)
    return model.values(states, batch.segments, batch.mask)


class Judged(NamedTuple):
    """One score for each reply of a batch, and the states that they were read from."""

    scores: Float[Tensor, " N"]
    states: Float[Tensor, "B T D"]


def judged(model: RewardModel, batch: Batch | GroupBatch) -> Judged:
    """Scores of the examples or replies of the batch, read at their last tokens (rule R7)."""
    sight = batch.sight
    return _judged(model, batch, sight, _surprises(model.readers, batch, sight))


def reward_scores(model: RewardModel | RewardEnsemble, batch: Batch | GroupBatch) -> Float[Tensor, " N"]:
    """One score for each example or reply of the batch; of an ensemble, the mean of its members'."""
    sight = batch.sight
    features = _surprises(model.readers, batch, sight)
    members = model.each if isinstance(model, RewardEnsemble) else (model,)
    scores = [_judged(member, batch, sight, features).scores for member in members]
    return scores[0] if len(scores) == 1 else torch.stack(scores).mean(0)


def _judged(model: RewardModel, batch: Batch | GroupBatch, sight: Sight, features: list[Tensor]) -> Judged:
    states: Tensor = model(batch.tokens, batch.positions, sight, features)
    return Judged(model.judge(states, batch.last, batch.owners), states)


@torch.no_grad()
def _surprises(
    readers: Sequence[LanguageModel], batch: Batch | GroupBatch, sight: Sight
) -> list[Float[Tensor, "B T 3"]]:
    return [surprise(reader, batch.tokens, batch.positions, sight, batch.previous) for reader in readers]


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
