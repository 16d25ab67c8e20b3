"""The first update of a healthy run has the shape that Huang et al. published (rule P3).

Their reference log, running means over 4 inner epochs of update 1: approxkl 0, .0029, .0056, .0081; clipfrac
0, .025, .051, .073. Both begin at exactly 0, then rise with every epoch, by amounts of this order.
"""

from __future__ import annotations

import torch

from parley.engine.sampler import sample
from parley.rlhf.advantages import whiten
from parley.rlhf.batches import reply_batch
from parley.rlhf.forward import policy_logprobs
from parley.rlhf.loop import adam, descend, set_rate
from parley.rlhf.losses import ppo_policy_loss
from parley.rlhf.rollout import rollout_tokens
from tests.tiny import tiny_decoder, tiny_tokenizer

EPOCHS, REPLIES = 4, 96
THEIR_KL, THEIR_CLIPPED = (0.0029, 0.0056, 0.0081), (0.025, 0.051, 0.073)


def running_means(figures: list[float]) -> list[float]:
    return [sum(figures[: n + 1]) / (n + 1) for n in range(len(figures))]


def first_update() -> tuple[list[float], list[float]]:
    """approx_kl and clip fraction of the inner epochs, as running means."""
    decoder, tokenizer = tiny_decoder(3), tiny_tokenizer()
    prompts = [[5 + n % 7, 40 + n] for n in range(REPLIES)]
    done = sample(
        decoder,
        prompts,
        max_new_tokens=8,
        temperature=1.0,
        end_id=tokenizer.end,
        generator=torch.Generator().manual_seed(0),
        batch_size=REPLIES,
    )
    replies = reply_batch(
        rollout_tokens(prompts, done), list(range(REPLIES)), pad=tokenizer.pad, device="cpu"
    )
    with torch.no_grad():
        old = policy_logprobs(decoder, replies, temperature=1.0)
    scores = torch.tensor([float(sum(token % 4 == 0 for token in item.tokens)) for item in done])
    advantages = whiten(scores[:, None].expand_as(old), replies.mask)
    optimizer = adam(decoder.parameters(), eps=1e-5)
    set_rate(optimizer, 3.5e-3)
    kl, clipped = [], []
    for _ in range(EPOCHS):
        logprobs = policy_logprobs(decoder, replies, temperature=1.0)
        found = ppo_policy_loss(logprobs, old, advantages, replies.mask, clip=0.2)
        kl.append(found.approx_kl.item())
        clipped.append(found.clip_fraction.item())
        descend(optimizer, found.loss, clip_norm=1.0)
    return running_means(kl), running_means(clipped)


def test_the_first_update_has_the_shape_of_a_healthy_run() -> None:
    kl, clipped = first_update()
    assert kl[0] == clipped[0] == 0.0
    for found, theirs in ((kl, THEIR_KL), (clipped, THEIR_CLIPPED)):
        assert found == sorted(found)
        assert all(theirs[n] / 5 < found[n + 1] < theirs[n] * 5 for n in range(3))
