"""What must hold of a batch of PPO if code, data and models are right; and what is wrong where it does not.

Nothing here learns. Each check is worked out anew from tokens and models, on another way than training
takes where there is one, so that it can disagree: sampled tokens must be as surprising as their
distribution says, a row must score the same alone, padding must not matter to the last bit. What a run
watches while it goes is `rlhf.invariants`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from parley.model.language_model import LanguageModel
from parley.rlhf.batches import TokenSet, reply_batch
from parley.rlhf.forward import policy_logprobs
from parley.rlhf.invariants import TOLERANCE
from parley.rlhf.losses import k3
from parley.rlhf.rollout import PpoBatch, RolloutBatch

STRANGE: Final = 4.5  # standard errors; by chance once in 150,000 times
NEAR: Final = 1.0  # log-ratio of a token, in nats
EXACT: Final = 1e-3  # of sums of fp32 numbers around 1
BLOCK: Final = 256  # predicted tokens whose whole distribution is in memory at once


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `holds` is None where there was nothing to judge by."""

    name: str
    holds: bool | None
    told: str
    """The figures."""
    diagnosis: str
    """Where to look if it does not hold."""


def sampler_agrees(decoder: LanguageModel, examples: TokenSet, *, pad: int, temperature: float) -> Check:
    """Sampled tokens are as improbable as tokens of that distribution are: mean surprise equals entropy.

    Another temperature, top-k, top-p or a penalty in the sampler alone breaks it (rules P1, P2).
    """
    difference, variance, count = 0.0, 0.0, 0
    for surprise, entropy, spread in _surprises(decoder, examples, pad=pad, temperature=temperature):
        difference += float((surprise - entropy).sum())
        variance += float(spread.sum())
        count += len(surprise)
    errors = difference / sqrt(max(variance, 1e-12))
    return Check(
        "sampler and learner agree",
        abs(errors) < STRANGE,
        f"{count} sampled tokens are {difference / max(count, 1):+.3f} nats more surprising than their "
        f"distribution says ({errors:+.1f} standard errors)",
        "the sampler draws from another distribution than the log-probabilities are of: compare temperature, "
        "top_k, top_p and penalties of both, and the dtype of the logits",
    )


@torch.no_grad()
def _surprises(
    decoder: LanguageModel, examples: TokenSet, *, pad: int, temperature: float
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """For blocks of sampled tokens: surprise, entropy of what they were drawn from, variance of a surprise."""
    batch = reply_batch(examples, range(len(examples)), pad=pad, device=str(decoder.device)).packed
    hidden = decoder(batch.tokens, batch.positions, batch.bias)[:, :-1][batch.mask[:, 1:]]
    targets = batch.tokens[:, 1:][batch.mask[:, 1:]]
    for start in range(0, len(targets), BLOCK):
        rows = slice(start, start + BLOCK)
        logprobs = F.log_softmax(decoder.logits(hidden[rows]).float() / temperature, -1)
        entropy = -(logprobs.exp() * logprobs).sum(-1)
        squares = (logprobs.exp() * logprobs**2).sum(-1)
        yield -logprobs.gather(1, targets[rows, None])[:, 0], entropy, squares - entropy**2


def first_ratio_is_one(
    decoder: LanguageModel,
    rollout: RolloutBatch,
    rows: Sequence[int],
    *,
    pad: int,
    temperature: float,
    linear: str,
) -> Check:
    """Before any update every ratio of the first minibatch is 1 (rule P3), read in its own packing."""
    with torch.no_grad():
        replies = reply_batch(rollout.examples, rows, pad=pad, device=str(decoder.device))
        found = policy_logprobs(decoder, replies, temperature=temperature)
    width = found.shape[1]
    old = rollout.logprobs[list(rows), :width]
    gap = float(((found - old).masked_fill(~replies.mask, 0.0).exp() - 1).abs().max())
    return Check(
        "ratio is 1 at the first minibatch",
        gap <= TOLERANCE[linear],
        f"largest distance {gap:.2g} over {len(rows)} replies",
        "old and new log-probabilities are not computed alike: look for dropout, another temperature, "
        "positions that depend on padding, or another numeric plan",
    )


def kl_estimates_agree(rollout: RolloutBatch) -> tuple[Check, Check]:
    """k3 is never negative, and as large as k1 in the mean, since the replies are the policy's own (P4).

    Their difference π_ref/π - 1 is 0 in the mean over the policy's own tokens, but only near the reference
    is its spread seen in one batch: further away nothing is judged.
    """
    k1 = (rollout.logprobs - rollout.ref_logprobs)[rollout.mask].double()
    found = k3(k1)
    distance = found - k1
    errors = float(distance.mean()) / max(float(distance.std()) / sqrt(len(distance)), 1e-12)
    same = abs(float(distance.mean())) < 1e-6 or abs(errors) < STRANGE
    return (
        Check(
            "k3 is not negative",
            bool((found >= -1e-9).all()),
            f"smallest {float(found.min()):.2g}, mean {float(found.mean()):.3g} nats a token",
            "the log-ratio is not finite or not of the same tokens: look at the mask and at padding",
        ),
        Check(
            "k1 and k3 estimate the same KL",
            same if float(k1.abs().max()) < NEAR else None,
            f"k1 {float(k1.mean()):+.4f}, k3 {float(found.mean()):.4f} nats a token, largest log-ratio "
            f"{float(k1.abs().max()):.2f} ({errors:+.1f} standard errors)",
            "the replies are not drawn from the policy whose log-probabilities these are: another temperature "
            "or filters in the sampler, or a reference with another tokenizer",
        ),
    )


def replies_end_once(rollout: RolloutBatch, *, end: int, limit: int) -> Check:
    """Nothing stands behind a reply's end token, and one that did not end is as long as may be (rule P17)."""
    replies = [
        tokens[mask].tolist() for tokens, mask in map(rollout.examples.example, range(len(rollout.examples)))
    ]
    late = sum(end in reply[:-1] for reply in replies)
    open_ = sum(reply[-1:] != [end] and len(reply) < limit for reply in replies)
    return Check(
        "replies stop at their end",
        not late and not open_,
        f"{late} of {len(replies)} go on behind it, {open_} break off before it and before the limit",
        "the sampler does not stop at the tokenizer's end token: compare its id with the model's eos_token_id",
    )


def padding_changes_nothing(read: Callable[[int], Tensor], pads: tuple[int, int]) -> Check:
    """`read` with one pad token and with another, to the last bit (rules P15, P17)."""
    one, other = map(read, pads)
    return Check(
        "padding changes nothing",
        bool(torch.equal(one, other)),
        f"largest change {float((one - other).abs().max()):.2g}",
        "a mask or the positions depend on padding: pad and end must be different tokens, lengths are data",
    )


def rewards_add_up(rollout: RolloutBatch, rewards: Tensor, *, kl_coefficient: float) -> Check:
    """A reply's rewards are its score less the price of its KL (rule P5)."""
    gap = float((rewards.sum(1) - (rollout.scores - kl_coefficient * rollout.kl)).abs().max())
    return Check(
        "rewards are score less price of KL",
        gap < EXACT * max(1.0, float(rollout.scores.abs().max())),
        f"largest difference {gap:.2g}",
        "the score does not stand on the reply's last token, or the KL is counted off the reply",
    )


def advantages_are_whitened(batch: PpoBatch) -> Check:
    """Mean 0 and deviation 1 over the reply tokens of the batch (rule P9)."""
    found = batch.advantages[batch.rollout.mask]
    mean, deviation = float(found.mean()), float(found.std(unbiased=False))
    return Check(
        "advantages are whitened",
        abs(mean) < EXACT and abs(deviation - 1) < 0.01,
        f"mean {mean:+.2g}, deviation {deviation:.4f}",
        "pads are counted, or every reward is the same: look at the scores",
    )


def no_dropout(models: Sequence[nn.Module]) -> Check:
    """Nothing is dropped in policy, reference, critic and reward model (rule P13)."""
    active = [
        type(module).__name__
        for model in models
        for module in model.modules()
        if module.training and isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
    ]
    return Check(
        "no dropout is active",
        not active,
        f"{len(active)} modules with dropout in training mode",
        "put the model into eval mode, or set its config's dropout to 0",
    )


def scores_stand_alone(score: Callable[[Sequence[int]], Tensor], count: int) -> Check:
    """A reply has the same score alone as beside others (rule R7)."""
    together = score(range(count))
    alone = torch.cat([score([n]) for n in range(min(count, 4))])
    gap = float((together[: len(alone)] - alone).abs().max())
    return Check(
        "a reply scores the same alone",
        gap < 0.02 * max(1.0, float(together.std(unbiased=False))),
        f"largest difference {gap:.2g}, deviation of the scores {float(together.std(unbiased=False)):.3g}",
        "the score is read at another place than the reply's last token: look at padding and truncation",
    )
