"""The base model: a tokenizer fitted to the documents, then pretraining from random weights.
A model that is pretrained already (`base.from`) is taken by `stages.pretrained` instead.

First stage of the walk. Its checkpoint already carries the chat format, whose role tokens start
from words that stand for them in plain text (`Question:`, `Answer:`), so that one can talk with
the base model and see what it lacks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from math import inf
from typing import Final

import torch

from parley.artifacts import Checkpoint, Snapshot, Vocabulary, Workspace
from parley.config import check_bounds
from parley.errors import ConfigError
from parley.model.checkpoint import save_checkpoint
from parley.model.decoder import Decoder, DecoderConfig, count_parameters
from parley.model.language_model import LanguageModel
from parley.model.render import ChatFormat
from parley.model.tokenizer import Tokenizer
from parley.rlhf.loop import adam
from parley.stages.data import demonstrations_of, documents_of
from parley.stages.likelihood import Passes, Rate, document_tokens, maximise_likelihood, total_logprob

SMALLEST_VOCABULARY: Final = 256 + 6  # bytes and special tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseConfig:
    """Shape and training of the base model, or where one that is pretrained comes from."""

    from_: str = ""
    """A pretrained model instead: a directory in Hugging Face layout, or a name on its hub. Of this
    section only max_positions, row_tokens and the words then count."""
    vocab_size: int = 768
    """Tokens of the byte-level BPE, six special ones and 256 bytes included."""
    tokenizer_characters: int = 20_000_000
    """How much of documents and of dialogues the tokenizer is fitted to, in characters of each."""
    width: int = 96
    """Width of the residual stream."""
    layers: int = 4
    """Blocks of attention and MLP."""
    heads: int = 3
    """Attention heads."""
    kv_heads: int = 3
    """Key-value heads, shared by equal groups of attention heads."""
    mlp_width: int = 256
    """Inner width of SwiGLU."""
    tied: bool = True
    """Whether the output matrix is the embedding."""
    max_positions: int = 256
    """Context in tokens, prompt and reply together; of a pretrained model, what the recipe uses."""
    row_tokens: int = 64
    """Tokens a packed row; longer documents are cut into pieces of this size."""
    batch_tokens: int = 2048
    """Tokens an optimizer step."""
    epochs: int = 1
    """Passes over the documents."""
    max_steps: int = 0
    """A limit on optimizer steps; 0 is none."""
    rate: float = 3e-3
    """Peak learning rate."""
    warmup: int = 20
    """Steps of linear warm-up."""
    floor: float = 0.05
    """Share of the peak rate at the end of the cosine."""
    weight_decay: float = 0.05
    """AdamW's decay of matrices."""
    user_words: str = "Question:"
    """Text whose mean embedding the user's role token starts from."""
    assistant_words: str = "Answer:"
    """Text whose mean embedding the assistant's role token starts from."""

    def __post_init__(self) -> None:
        check_bounds(
            self, vocab_size=(SMALLEST_VOCABULARY, inf), tokenizer_characters=(1, inf), width=(2, inf)
        )
        check_bounds(self, layers=(1, inf), heads=(1, inf), kv_heads=(1, inf), mlp_width=(1, inf))
        check_bounds(self, max_positions=(16, inf), row_tokens=(8, self.max_positions), batch_tokens=(8, inf))
        check_bounds(self, epochs=(1, inf), max_steps=(0, inf), rate=(0, inf), warmup=(0, inf), floor=(0, 1))
        check_bounds(self, weight_decay=(0, inf))
        _check_unused(self)


def _check_unused(config: BaseConfig) -> None:
    """What shapes and trains a new model says nothing to one that is pretrained."""
    kept = ("from_", "max_positions", "row_tokens", "user_words", "assistant_words")
    for field in fields(config) if config.from_ else ():
        if field.name not in kept and getattr(config, field.name) != field.default:
            raise ValueError(f"{field.name} says nothing to a model that 'from' loads: remove it")


def fit_tokenizer(out: Workspace, told: Snapshot, config: BaseConfig) -> Vocabulary:
    """A byte-level BPE fitted to documents and dialogues together, so that both come out short."""
    texts = chain(
        _documents(told, config.tokenizer_characters), _dialogues(told, config.tokenizer_characters)
    )
    tokenizer = Tokenizer.train(texts, config.vocab_size)
    tokenizer.save(out.path)
    return out.seal(Vocabulary, {"tokens": float(tokenizer.vocab_size)})


def train_base(
    out: Workspace, told: Snapshot, vocabulary: Vocabulary, chat: ChatFormat, config: BaseConfig
) -> Checkpoint:
    """Pretraining from random weights on the snapshot's documents."""
    tokenizer = Tokenizer.load(vocabulary.path)
    texts = [document.text for document in documents_of(told)]
    if not texts:
        raise ConfigError("the data section names no documents to pretrain the base model on")
    examples = document_tokens(texts, tokenizer, row_tokens=config.row_tokens)
    generator = torch.Generator().manual_seed(out.seed_for("weights"))
    decoder = Decoder(_shape(config, tokenizer)).initialise(generator).use(out.plan)
    maximise_likelihood(
        out,
        decoder,
        examples,
        pad=tokenizer.pad,
        passes=Passes(config.epochs, config.row_tokens, config.batch_tokens, config.max_steps),
        optimizer=adam(decoder.parameters(), betas=(0.9, 0.98), weight_decay=config.weight_decay),
        rate=Rate(config.rate, config.warmup, config.floor),
    )
    _start_role_tokens(decoder, tokenizer, config)
    save_checkpoint(out.path, decoder, tokenizer, chat)
    held_out = [document.text for document in documents_of(told, held_out=True)]
    figures = {"parameters": float(count_parameters(decoder)), "tokens": float(len(examples.tokens))}
    if held_out:
        figures["bits_per_byte"] = bits_per_byte(decoder, tokenizer, held_out, row_tokens=config.row_tokens)
    return out.seal(Checkpoint, figures)


@torch.no_grad()
def bits_per_byte(
    decoder: LanguageModel, tokenizer: Tokenizer, texts: Sequence[str], *, row_tokens: int
) -> float:
    """How many bits the model needs for a byte of the texts, ends of documents included.

    Every piece of `row_tokens` starts without context, so the figure is an upper bound.
    """
    examples = document_tokens(texts, tokenizer, row_tokens=row_tokens)
    num_bytes = sum(len(text.encode()) for text in texts)
    return (
        -total_logprob(decoder, examples, pad=tokenizer.pad, row_tokens=row_tokens) / math.log(2) / num_bytes
    )


def _shape(config: BaseConfig, tokenizer: Tokenizer) -> DecoderConfig:
    return DecoderConfig(
        vocab_size=tokenizer.vocab_size,
        width=config.width,
        layers=config.layers,
        heads=config.heads,
        kv_heads=config.kv_heads,
        mlp_width=config.mlp_width,
        tied=config.tied,
        max_positions=config.max_positions,
    )


@torch.no_grad()
def _start_role_tokens(decoder: Decoder, tokenizer: Tokenizer, config: BaseConfig) -> None:
    """Role tokens never occur in documents: give them the mean embedding of words like them."""
    starts = {tokenizer.user: config.user_words, tokenizer.assistant: config.assistant_words}
    for token, words in starts.items():
        ids = torch.tensor(tokenizer.encode(words), device=decoder.embedding.device)
        for matrix in {id(m): m for m in (decoder.embedding, decoder.head_weight)}.values():
            matrix[token] = matrix[ids].mean(0)


def _documents(told: Snapshot, limit: int) -> Iterator[str]:
    return _first_characters((document.text for document in documents_of(told)), limit)


def _dialogues(told: Snapshot, limit: int) -> Iterator[str]:
    turns = (message.text for d in demonstrations_of(told) for message in d.conversation.messages)
    return _first_characters(turns, limit)


def _first_characters(texts: Iterable[str], limit: int) -> Iterator[str]:
    seen = 0
    for text in texts:
        if seen >= limit:
            return
        seen += len(text)
        yield text
