"""Maximum likelihood, which pretraining and supervised fine-tuning share: tokens, steps, loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from parley.artifacts import Workspace
from parley.model.dropout import dropout, droppable
from parley.model.language_model import LanguageModel
from parley.model.tokenizer import Tokenizer
from parley.rlhf.batches import (
    Row,
    TokenSet,
    chunks,
    epoch_batches,
    in_order_batches,
    packed_batch,
    portions,
)
from parley.rlhf.forward import supervised_logprobs
from parley.rlhf.loop import SavedSteps, descend, scheduled, set_rate
from parley.rlhf.losses import sft_loss


@dataclass(frozen=True, slots=True)
class Passes:
    """How often and in what portions the examples are seen; `max_steps` 0 is no limit. Of a batch at most
    `micro_tokens` are in memory at once (0: all); `dropout` falls on what layers add to the stream."""

    epochs: int
    row_tokens: int
    batch_tokens: int
    max_steps: int
    micro_tokens: int = 0
    dropout: float = 0.0


@dataclass(frozen=True, slots=True)
class Rate:
    """A peak learning rate, steps of warm-up, and the share of the peak at the cosine's end."""

    peak: float
    warmup: int
    floor: float


class EpochWatch(Protocol):
    """Whoever looks at the model after every epoch; `copy` is saved with the steps."""

    @property
    def copy(self) -> nn.Module:
        """Weights that the watch keeps."""
        ...

    def look(self, epoch: int, values: dict[str, float]) -> dict[str, float]:
        """Figures after this epoch (counted from 1); `values` is saved with the steps."""
        ...

    def finish(self) -> None:
        """The model gets the weights that the watch chose."""
        ...


def maximise_likelihood(
    out: Workspace,
    decoder: LanguageModel,
    examples: TokenSet,
    *,
    pad: int,
    passes: Passes,
    optimizer: AdamW,
    rate: Rate,
    watch: EpochWatch | None = None,
) -> None:
    """Train `decoder` in place on the supervised tokens; every batch weighs its tokens equally, in however
    many portions it is read (rule S4)."""
    epochs = _epochs(out, examples, passes)
    batches = [rows for epoch in epochs for rows in epoch]
    ends = {end: number for number, end in enumerate(accumulate(map(len, epochs)), start=1)}
    total = min(len(batches), passes.max_steps or len(batches))
    noisy = droppable(decoder) if passes.dropout else []
    state = SavedSteps(
        out, {"model": decoder, **({"kept": watch.copy} if watch else {})}, {"model": optimizer}
    )
    for step in state.steps(total):
        share = scheduled("cosine", step, total, warmup=rate.warmup, floor=rate.floor)
        set_rate(optimizer, rate.peak * share)
        losses = likelihood_losses(
            decoder, examples, batches[step], pad=pad, micro_tokens=passes.micro_tokens
        )
        with dropout(noisy, passes.dropout, seed=out.seed_for("dropout", step)):
            figures = {"loss": descend(optimizer, *losses, clip_norm=1.0).loss}
        looked = watch.look(ends[step + 1], state.values) if watch and step + 1 in ends else {}
        state.report(total, figures | looked, log=step % 10 == 0 or bool(looked))


def likelihood_losses(
    decoder: LanguageModel, examples: TokenSet, rows: list[Row], *, pad: int, micro_tokens: int = 0
) -> Iterator[Callable[[], Tensor]]:
    """The mean negative log-likelihood of a batch, in parts that add up to it, each computed when called."""
    count = sum(int(examples.example(index)[1].sum()) for row in rows for index in row)
    for part in _portions(examples, rows, micro_tokens):
        yield partial(_part_of_loss, decoder, examples, part, pad=pad, count=count)


def _part_of_loss(
    decoder: LanguageModel, examples: TokenSet, rows: list[Row], *, pad: int, count: int
) -> Tensor:
    batch = packed_batch(examples, rows, pad=pad, device=str(decoder.device))
    logprobs = supervised_logprobs(decoder, batch)
    return sft_loss(logprobs, torch.ones_like(logprobs, dtype=torch.bool), count=count)


def _portions(examples: TokenSet, rows: list[Row], micro_tokens: int) -> Iterator[list[Row]]:
    """Whole rows, at most `micro_tokens` of them together unless one alone has more."""
    sizes = [int(examples.lengths[row].sum()) for row in rows]
    for part in portions(sizes, batch_tokens=micro_tokens or sum(sizes)):
        yield [rows[n] for n in part]


def _epochs(out: Workspace, examples: TokenSet, passes: Passes) -> list[list[list[Row]]]:
    """The batches of all epochs: a function of the stage's seed alone."""
    return [
        epoch_batches(
            examples,
            seed=out.seed_for("order", epoch),
            row_tokens=passes.row_tokens,
            batch_tokens=passes.batch_tokens,
        )
        for epoch in range(passes.epochs)
    ]


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
