"""Supervised fine-tuning: the base model learns to answer as the trainers did.

The trainers' dialogues (with instruction rows turned into dialogue among them) are mixed with a
share of the base model's documents, which keeps what it knows (InstructGPT C.3). The loss is on
assistant turns and their stop token alone (rule S1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np
import torch

from parley.artifacts import Checkpoint, Snapshot, Workspace
from parley.config import check_bounds
from parley.errors import ConfigError, DataError
from parley.labels import Demonstration
from parley.model.adapters import AdapterConfig, adapted
from parley.model.checkpoint import LoadedModel, load_checkpoint, save_checkpoint
from parley.model.render import Rendered, render_all, with_system
from parley.rlhf.batches import TokenSet
from parley.rlhf.loop import adam
from parley.stages.data import demonstrations_of, documents_of
from parley.stages.likelihood import (
    EpochWatch,
    Passes,
    Rate,
    document_tokens,
    maximise_likelihood,
    mean_loss,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SftConfig:
    """Supervised fine-tuning on demonstrations."""

    epochs: int = 2
    """Passes over the demonstrations."""
    replay: float = 1.0
    """Documents of pretraining mixed in, as a share of the number of demonstrations."""
    row_tokens: int = 96
    """Tokens a packed row. A longer dialogue is cut behind the last imitated turn that fits."""
    batch_tokens: int = 1024
    """Tokens an optimizer step."""
    rate: float = 1.5e-3
    """Peak learning rate."""
    warmup: int = 10
    """Steps of linear warm-up."""
    floor: float = 0.1
    """Share of the peak rate at the end of the cosine (rule S6)."""
    weight_decay: float = 0.0
    """AdamW's decay of matrices."""
    max_steps: int = 0
    """A limit on optimizer steps; 0 is none."""
    micro_tokens: int = 0
    """Tokens in memory at once; a larger batch is read in several portions whose gradients gather, with
    the same loss (rule S4). 0 is no limit."""
    recompute: bool = False
    """Whether layers are computed again on the way back instead of being kept: less memory, more time."""
    dropout: float = 0.0
    """Share of what attention and MLPs add to the stream that is dropped in training (InstructGPT's SFT
    baseline: 0.2; rule S6)."""
    adapters: AdapterConfig = field(default_factory=AdapterConfig)
    """Low-rank adapters; the checkpoint holds them merged."""

    def __post_init__(self) -> None:
        check_bounds(
            self, epochs=(1, inf), replay=(0, inf), row_tokens=(8, inf), batch_tokens=(8, inf), rate=(0, inf)
        )
        check_bounds(self, warmup=(0, inf), floor=(0, 1), weight_decay=(0, inf), max_steps=(0, inf))
        check_bounds(self, micro_tokens=(0, inf), dropout=(0, 0.9))

    @property
    def passes(self) -> Passes:
        """How often and in what portions the examples are seen."""
        return Passes(
            self.epochs,
            self.row_tokens,
            self.batch_tokens,
            self.max_steps,
            micro_tokens=self.micro_tokens,
            dropout=self.dropout,
        )


def train_sft(out: Workspace, base: Checkpoint, told: Snapshot, config: SftConfig) -> Checkpoint:
    """The base model fine-tuned on the snapshot's demonstrations."""
    model = to_fine_tune(out, base, config)
    return fine_tune(out, base, model, told, config)


def to_fine_tune(out: Workspace, base: Checkpoint, config: SftConfig) -> LoadedModel:
    """The base model as it is trained: with adapters, with layers that are recomputed, or as it is."""
    model = load_checkpoint(base.path, out.plan)
    _check_room(model, config)
    generator = torch.Generator().manual_seed(out.seed_for("adapters"))
    model = replace(model, decoder=adapted(model.decoder, config.adapters, generator))
    if config.recompute:
        model.decoder.recompute()
    return model


def fine_tune(
    out: Workspace,
    base: Checkpoint,
    model: LoadedModel,
    told: Snapshot,
    config: SftConfig,
    watch: EpochWatch | None = None,
) -> Checkpoint:
    """`model` trained in place on the snapshot's demonstrations, and sealed as it comes out."""
    demonstrations = list(demonstrations_of(told))
    examples = demonstration_tokens(demonstrations, model, row_tokens=config.row_tokens)
    _check_any(len(demonstrations), len(examples), config)
    check_stop_tokens(examples, model.tokenizer.end)
    replayed = _replayed(out, told, model, int(config.replay * len(examples)), config)
    maximise_likelihood(
        out,
        model.decoder,
        examples.joined(replayed),
        pad=model.tokenizer.pad,
        passes=config.passes,
        optimizer=adam(model.decoder.parameters(), weight_decay=config.weight_decay),
        rate=Rate(config.rate, config.warmup, config.floor),
        watch=watch,
    )
    if watch:
        watch.finish()
    save_checkpoint(out.path, model.decoder, model.tokenizer, model.chat_format)
    figures = {"demonstrations": float(len(examples)), "left out": float(len(demonstrations) - len(examples))}
    return out.seal(Checkpoint, {**figures, **_held_out(out, base, told, model, config)})


def _check_room(model: LoadedModel, config: SftConfig) -> None:
    room = model.decoder.config.max_positions
    if config.row_tokens > room:
        raise ConfigError(f"sft.row_tokens is {config.row_tokens}, the model's context has {room}: lower it")


def _check_any(given: int, kept: int, config: SftConfig) -> None:
    """Rule S5: nothing is trained that supervises nothing."""
    if not given:
        raise ConfigError("the data section names no demonstrations to fine-tune on")
    if not kept:
        raise ConfigError(
            f"none of {given} demonstrations has an imitated turn within sft.row_tokens, {config.row_tokens}: "
            "raise it, or give shorter dialogues"
        )


def demonstration_tokens(
    demonstrations: Sequence[Demonstration], model: LoadedModel, *, row_tokens: int
) -> TokenSet:
    """Dialogues as tokens with the loss on imitated turns.

    One that is too long is cut behind the last imitated turn that still fits; where not even one
    does, the dialogue is left out (rule S5).
    """
    conversations = [with_system(d.conversation, model.chat_format.system_text) for d in demonstrations]
    shifts = [
        len(c.messages) - len(d.conversation.messages)
        for c, d in zip(conversations, demonstrations, strict=True)
    ]
    imitate = [tuple(i + shift for i in d.imitate) for d, shift in zip(demonstrations, shifts, strict=True)]
    rendered = render_all(conversations, model.tokenizer, imitate=imitate)
    cut = (_cut(item, row_tokens, model.tokenizer.end) for item in rendered)
    return TokenSet.of((item.tokens, item.mask) for item in cut if any(item.mask))


def check_stop_tokens(examples: TokenSet, end: int) -> None:
    """`DataError` unless every supervised turn ends on a supervised stop token (rule S1).

    A model that is never taught to stop does not.
    """
    for index in range(len(examples)):
        tokens, mask = examples.example(index)
        closes = mask & ~np.append(mask[1:], False)
        if not (tokens[closes] == end).all():
            raise DataError(
                "a supervised turn does not end with the stop token, so nothing would teach the model to stop: "
                "mark whole turns, their end included",
                record=index + 1,
            )


def _cut(item: Rendered, limit: int, end: int) -> Rendered:
    if len(item.tokens) <= limit:
        return item
    ends = [n + 1 for n in range(limit) if item.mask[n] and item.tokens[n] == end]
    length = ends[-1] if ends else 0
    return Rendered(item.tokens[:length], item.mask[:length])


def _replayed(out: Workspace, told: Snapshot, model: LoadedModel, count: int, config: SftConfig) -> TokenSet:
    """`count` documents drawn without replacement, as many as there are at most."""
    texts = [document.text for document in documents_of(told)] if count else []
    order = np.random.default_rng(out.seed_for("replay")).permutation(len(texts))[:count]
    pieces = document_tokens([texts[i] for i in order], model.tokenizer, row_tokens=config.row_tokens)
    return TokenSet.of(pieces.example(i) for i in range(min(count, len(pieces))))


def _held_out(
    out: Workspace, base: Checkpoint, told: Snapshot, model: LoadedModel, config: SftConfig
) -> dict[str, float]:
    """Loss on unseen dialogues, before and after."""
    unseen = list(demonstrations_of(told, held_out=True))
    examples = demonstration_tokens(unseen, model, row_tokens=config.row_tokens)
    if not len(examples):
        return {}
    before = load_checkpoint(base.path, out.plan).decoder
    pad = model.tokenizer.pad
    return {
        "loss": mean_loss(model.decoder, examples, pad=pad, row_tokens=config.row_tokens),
        "base_loss": mean_loss(before, examples, pad=pad, row_tokens=config.row_tokens),
    }
