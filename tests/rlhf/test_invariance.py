"""How a batch is laid out changes no loss, no gradient and no figure: to 1e-6 in fp32 (rules P12, S3, S4, R1, R7).

Compared are whole vectors, by the norm of their difference over their own norm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from parley.dialogue import Message, dialogue
from parley.labels import Ranking, Ranks
from parley.model.heads import RewardModel, ValueModel
from parley.rlhf.batches import Batch, TokenSet, pack, packed_batch, reply_batch
from parley.rlhf.exchanges import exchange_tokens
from parley.rlhf.forward import policy_logprobs, reward_scores, state_values, supervised_logprobs
from parley.rlhf.groups import group_batch, ranked_replies
from parley.rlhf.losses import ppo_policy_loss, ppo_value_loss, ranking_loss, sft_loss
from tests.tiny import TEXTS, tiny_decoder, tiny_model, tiny_tokenizer

CLOSE = 1e-6
PAD = tiny_tokenizer().pad
ALL = range(10)


def examples() -> TokenSet:
    """A prompt and a reply each, of 3 to 16 tokens."""
    rng = np.random.default_rng(5)
    sizes = [(int(rng.integers(1, 6)), int(rng.integers(2, 11))) for _ in ALL]
    return TokenSet.of((rng.integers(6, 280, p + r).tolist(), [False] * p + [True] * r) for p, r in sizes)


def apart(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def gradient(module: nn.Module, losses: Iterable[Tensor]) -> Tensor:
    """Of the sum of the losses, gathered one by one."""
    module.zero_grad()
    for loss in losses:
        loss.backward()  # type: ignore[no-untyped-call]
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def sft(decoder: Any, batches: Sequence[Batch]) -> tuple[Tensor, Tensor]:
    """The losses of the batches as shares of one, and their gradient."""
    count = sum(batch.num_supervised for batch in batches)
    losses = []
    for batch in batches:
        logprobs = supervised_logprobs(decoder, batch)
        losses.append(sft_loss(logprobs, torch.ones_like(logprobs, dtype=torch.bool), count=count))
    return torch.stack(losses).sum().detach(), gradient(decoder, losses)


def rows_of(data: TokenSet, chosen: Sequence[int], row_tokens: int) -> list[list[int]]:
    (rows,) = pack(data.lengths, chosen, row_tokens=row_tokens, num_rows=len(chosen))
    return rows


def on_the_left(batch: Batch) -> Batch:
    """The same rows with their padding in front."""
    count = (batch.segments > 0).sum(1)
    order = (torch.arange(batch.tokens.shape[1]) + count[:, None]) % batch.tokens.shape[1]
    parts = (batch.tokens, batch.positions, batch.segments, batch.mask)
    return Batch(*(part.gather(1, order) for part in parts))


@pytest.mark.parametrize("row_tokens", [16, 24, 60, 200])
def test_packing_changes_nothing(row_tokens: int) -> None:
    """S3: from one example a row to all of them in one."""
    decoder, data = tiny_decoder(), examples()
    alone = sft(decoder, [packed_batch(data, [[i] for i in ALL], pad=PAD, device="cpu")])
    packed = sft(decoder, [packed_batch(data, rows_of(data, ALL, row_tokens), pad=PAD, device="cpu")])
    assert max(map(apart, packed, alone)) < CLOSE


def test_the_side_of_padding_changes_nothing() -> None:
    decoder, data = tiny_decoder(), examples()
    batch = packed_batch(data, [[i] for i in ALL], pad=PAD, device="cpu")
    left = on_the_left(batch)
    assert not torch.equal(left.tokens, batch.tokens)
    assert max(map(apart, sft(decoder, [left]), sft(decoder, [batch]))) < CLOSE


@pytest.mark.parametrize("portions", [2, 3, 10])
def test_accumulating_over_portions_changes_nothing(portions: int) -> None:
    """S4: portions of unequal numbers of tokens, each weighed by what it holds."""
    decoder, data = tiny_decoder(), examples()
    parts = [
        packed_batch(data, [[int(i)] for i in part], pad=PAD, device="cpu")
        for part in np.array_split(np.arange(10), portions)
    ]
    whole = packed_batch(data, [[i] for i in ALL], pad=PAD, device="cpu")
    assert max(map(apart, sft(decoder, parts), sft(decoder, [whole]))) < CLOSE


@pytest.mark.parametrize("portions", [2, 3, 10])
def test_portions_of_a_minibatch_of_ppo_change_nothing(portions: int) -> None:
    """P12: policy and value, losses and figures; the rows of a portion are narrower or wider."""
    decoder, critic, data = tiny_decoder(), ValueModel(tiny_decoder(7)), examples()
    torch.manual_seed(1)
    nn.init.normal_(critic.head.weight)
    whole = _ppo(decoder, critic, data, [list(ALL)])
    split = _ppo(decoder, critic, data, [part.tolist() for part in np.array_split(np.arange(10), portions)])
    assert max(map(apart, split, whole)) < CLOSE


def _ppo(decoder: Any, critic: ValueModel, data: TokenSet, parts: Sequence[list[int]]) -> list[Tensor]:
    """Gradients of policy and critic, and the sums of all figures."""
    generator = torch.Generator().manual_seed(2)
    old, advantages, values, returns = torch.randn(4, 10, 16, generator=generator) * 0.3
    count = int(data.mask.sum())
    policy, value, figures = [], [], []
    for rows in parts:
        replies = reply_batch(data, rows, pad=PAD, device="cpu")
        part = (torch.tensor(rows), slice(replies.mask.shape[1]))
        logprobs = policy_logprobs(decoder, replies, temperature=0.7)
        earlier = (logprobs.detach() + old[part]) * replies.mask
        first = ppo_policy_loss(logprobs, earlier, advantages[part], replies.mask, clip=0.2, count=count)
        predicted = state_values(critic, replies)
        second = ppo_value_loss(predicted, values[part], returns[part], replies.mask, clip=0.2, count=count)
        policy.append(first.loss)
        value.append(second.loss)
        figures.append(torch.stack([first.loss, first.clip_fraction, first.approx_kl, *second]).detach())
    return [gradient(decoder, policy), gradient(critic, value), torch.stack(figures).sum(0)]


def test_batch_mates_change_nothing() -> None:
    """A reply's log-probabilities, values and score, alone and among nine others."""
    decoder, critic, data = tiny_decoder(), ValueModel(tiny_decoder(7)), examples()
    torch.manual_seed(1)
    nn.init.normal_(critic.head.weight)
    scorer = RewardModel(tiny_decoder(1), [tiny_decoder(2)])
    among = reply_batch(data, list(ALL), pad=PAD, device="cpu")
    batch = packed_batch(data, [[i] for i in ALL], pad=PAD, device="cpu")
    with torch.no_grad():
        scores = reward_scores(scorer, batch)
    read: list[Callable[[Any], Tensor]] = [
        lambda replies: policy_logprobs(decoder, replies, temperature=1.0),
        lambda replies: state_values(critic, replies),
    ]
    for i in ALL:
        alone = reply_batch(data, [i], pad=PAD, device="cpu")
        for figure in read:
            own, shared = figure(alone)[0].detach(), figure(among)[i].detach()
            assert apart(shared, functional.pad(own, (0, len(shared) - len(own)))) < CLOSE
        one = reward_scores(scorer, packed_batch(data, [[i]], pad=PAD, device="cpu")).detach()
        assert apart(scores[i : i + 1], one) < 2 * CLOSE


def test_sharing_a_prompt_changes_nothing() -> None:
    """R1: rankings of 2 to 5 replies, the history read once or once a reply: the same loss and gradient."""
    speaker = tiny_model()
    said = [*TEXTS, "No.", "Tom?"]
    rankings = [
        Ranking(
            dialogue([TEXTS[n % 3]]),
            tuple(Message("assistant", text, "p") for text in said[:k]),
            Ranks(tuple(range(1, k + 1))),
            "a",
            "t",
        )
        for n, k in enumerate((2, 5, 3))
    ]
    torch.manual_seed(3)
    model = RewardModel(tiny_decoder(1), [])
    with torch.no_grad():  # else states are alike, and the differences of scores mere rounding
        for weight in model.trunk.parameters():
            weight.mul_(6 if weight.ndim > 1 else 1)
    groups = ranked_replies(rankings, speaker, context=128)
    batch, place = group_batch(groups, range(3), pad=PAD, device="cpu")
    shared = _ranked(model, reward_scores(model, batch), groups.pairs, place)
    flat = TokenSet.of(
        exchange_tokens(speaker, ranking.prompt, reply.text, context=128)
        for ranking in rankings
        for reply in ranking.replies
    )
    alone = torch.cat(
        [reward_scores(model, packed_batch(flat, [[i]], pad=PAD, device="cpu")) for i in range(10)]
    )
    assert max(map(apart, shared, _ranked(model, alone, groups.pairs, {n: n for n in range(10)}))) < CLOSE


def _ranked(model: nn.Module, scores: Tensor, pairs: Any, place: dict[int, int]) -> tuple[Tensor, Tensor]:
    starts = (0, 2, 7)
    index = [
        (place[starts[g] + pair.better], place[starts[g] + pair.worse], g)
        for g, group in enumerate(pairs)
        for pair in group
    ]
    better, worse, owner = torch.tensor(index).T
    loss = ranking_loss(scores, better, worse, owner, num_groups=3).loss
    return loss.detach(), gradient(model, [loss])
