"""Maximum likelihood, which pretraining and supervised fine-tuning share: tokens, steps, loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.optim import AdamW

from parley.artifacts import Workspace
from parley.model.language_model import LanguageModel
from parley.model.tokenizer import Tokenizer
from parley.rlhf.batches import Row, TokenSet, chunks, epoch_batches, in_order_batches, packed_batch
from parley.rlhf.forward import supervised_logprobs
from parley.rlhf.loop import SavedSteps, descend, scheduled, set_rate
from parley.rlhf.losses import sft_loss


@dataclass(frozen=True, slots=True)
class Passes:
    """How often and in what portions the examples are seen; `max_steps` 0 is no limit."""

    epochs: int
    row_tokens: int
    batch_tokens: int
    max_steps: int


@dataclass(frozen=True, slots=True)
class Rate:
    """A peak learning rate, steps of warm-up, and the share of the peak at the cosine's end."""

    peak: float
    warmup: int
    floor: float


def maximise_likelihood(
    out: Workspace,
    decoder: LanguageModel,
    examples: TokenSet,
    *,
    pad: int,
    passes: Passes,
    optimizer: AdamW,
    rate: Rate,
) -> None:
    """Train `decoder` in place on the supervised tokens; every batch weighs its tokens equally."""
    batches = _batches(out, examples, passes)
    total = min(len(batches), passes.max_steps or len(batches))
    state = SavedSteps(out, {"model": decoder}, {"model": optimizer})
    for step in state.steps(total):
        batch = packed_batch(examples, batches[step], pad=pad, device=out.plan.device)
        share = scheduled("cosine", step, total, warmup=rate.warmup, floor=rate.floor)
        set_rate(optimizer, rate.peak * share)
        logprobs = supervised_logprobs(decoder, batch)
        loss = sft_loss(logprobs, torch.ones_like(logprobs, dtype=torch.bool))
        descend(optimizer, loss, clip_norm=1.0)
        state.report(total, {"loss": loss.item()}, log=step % 10 == 0)


def _batches(out: Workspace, examples: TokenSet, passes: Passes) -> list[list[Row]]:
    """The batches of all epochs: a function of the stage's seed alone."""
    epochs = (
        epoch_batches(
            examples,
            seed=out.seed_for("order", epoch),
            row_tokens=passes.row_tokens,
            batch_tokens=passes.batch_tokens,
        )
        for epoch in range(passes.epochs)
    )
    return [rows for epoch in epochs for rows in epoch]


def document_tokens(texts: Sequence[str], tokenizer: Tokenizer, *, row_tokens: int) -> TokenSet:
    """Documents between their special tokens, longer ones in pieces that fit a row."""
    pieces = (
        piece
        for encoded in tokenizer.encode_batch(texts)
        for piece in chunks([tokenizer.document, *encoded, tokenizer.end], size=row_tokens)
    )
    return TokenSet.of((piece, [True] * len(piece)) for piece in pieces)


@torch.no_grad()
def total_logprob(decoder: LanguageModel, examples: TokenSet, *, pad: int, row_tokens: int) -> float:
    """The log-probability, in nats, of all supervised tokens together."""
    device = str(decoder.device)
    total = 0.0
    for rows in in_order_batches(examples, row_tokens=row_tokens, batch_tokens=max(8192, row_tokens)):
        batch = packed_batch(examples, rows, pad=pad, device=device)
        total += float(supervised_logprobs(decoder, batch).double().sum())
    return total


def mean_loss(decoder: LanguageModel, examples: TokenSet, *, pad: int, row_tokens: int) -> float:
    """Mean negative log-likelihood, in nats, of the supervised tokens."""
    return -total_logprob(decoder, examples, pad=pad, row_tokens=row_tokens) / max(
        1, int(examples.mask.sum())
    )
