"""A small tokenizer and decoder to sample from, and ways to run the engine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from parley.engine.batcher import Batcher
from parley.engine.packed import PackedRunner
from parley.engine.requests import Ended, Request, Token
from parley.engine.runner import ModelRunner, Runner, Step
from parley.engine.slots import Slots
from parley.model.decoder import Decoder, DecoderConfig, causal_bias
from parley.model.language_model import ModelShape
from parley.model.tokenizer import Tokenizer

TEXTS = (
    "Mira lives in Oakby. Tom has a goat. 😀 日本語 héllo",
    "I cannot help with that. Which Sally do you mean?",
)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS * 3, 330)


def strong(config: DecoderConfig, *, seed: int = 3) -> Decoder:
    """Weights large enough that the next token depends on all that went before."""
    decoder = Decoder(config).initialise(torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.mul_(4.0 if weight.dim() > 1 else 1.0)
    return decoder


@pytest.fixture(scope="session")
def decoder(tokenizer: Tokenizer) -> Decoder:
    return strong(
        DecoderConfig(
            vocab_size=tokenizer.vocab_size,
            width=48,
            layers=2,
            heads=3,
            kv_heads=3,
            mlp_width=96,
            max_positions=96,
        )
    )


@pytest.fixture(scope="session")
def grouped() -> Decoder:
    """Heads in groups, odd widths, an untied head, and room for prompts of several chunks."""
    return strong(
        DecoderConfig(
            vocab_size=211,
            width=60,
            layers=2,
            heads=6,
            kv_heads=2,
            mlp_width=98,
            max_positions=200,
            tied=False,
        )
    )


@pytest.fixture(scope="session", params=["packed", "model"])
def runner(request: pytest.FixtureRequest, grouped: Decoder) -> Runner:
    """Both ways to run a model, exact."""
    if request.param == "packed":
        return PackedRunner(grouped, exact=True)
    return ModelRunner(grouped, exact=True)


@dataclass(slots=True)
class Heard:
    """A sink that remembers."""

    tokens: list[Token] = field(default_factory=list)
    ended: Ended | Exception | None = None

    def take(self, token: Token) -> bool:
        assert self.ended is None
        self.tokens.append(token)
        return False

    def end(self, ended: Ended | Exception) -> None:
        assert self.ended is None
        self.ended = ended

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(token.id for token in self.tokens)

    @property
    def reason(self) -> str:
        assert isinstance(self.ended, Ended)
        return self.ended.reason


class Watched:
    """A runner that counts what it is asked to read."""

    def __init__(self, inner: Runner) -> None:
        self._inner = inner
        self.shape: ModelShape = inner.shape
        self.device = inner.device
        self.prompt_tokens: list[int] = []
        self.written: list[int] = []

    def slots(self, *, rows: int, columns: int) -> Slots:
        return self._inner.slots(rows=rows, columns=columns)

    def run(self, step: Step) -> Tensor:
        self.prompt_tokens.append(sum(len(chunk.tokens) for chunk in step.chunks))
        self.written.append(len(step.tokens))
        return self._inner.run(step)


def batcher_of(runner: Runner, *, slots: int = 4, reading_rows: int = 2, prefix_bytes: int = 0) -> Batcher:
    return Batcher(
        runner,
        slots=slots,
        columns=runner.shape.max_positions,
        reading_rows=reading_rows,
        reading_tokens=40,
        prefix_bytes=prefix_bytes,
    )


def finish(batcher: Batcher) -> None:
    while not batcher.idle:
        batcher.step()


def alone(runner: Runner, request: Request) -> Heard:
    """The reply to a request that has the engine to itself."""
    batcher, heard = batcher_of(runner, slots=1, reading_rows=1), Heard()
    batcher.add(request, heard)
    finish(batcher)
    return heard


def prompts_of(count: int, *, vocabulary: int, longest: int = 20, seed: int = 5) -> list[tuple[int, ...]]:
    rng = random.Random(seed)
    return [tuple(rng.randrange(vocabulary) for _ in range(rng.randrange(1, longest))) for _ in range(count)]


def hidden(decoder: Decoder, tokens: Sequence[int]) -> Tensor:
    """Hidden states without a cache."""
    row = torch.tensor([tokens])
    with torch.no_grad():
        found: Tensor = decoder(row, torch.arange(len(tokens))[None], causal_bias(torch.ones_like(row)))[0]
    return found
