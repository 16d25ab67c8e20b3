"""Completions of many prompts at once, for rollouts, alternatives and evaluation: the engine, run in
the calling thread until nothing is left to do.

Tokens are drawn from `softmax(logits / T)`, the distribution whose log-probabilities
`LanguageModel.token_logprobs` gives (P1); `top_p` below 1 is for serving only. The steps depend on the
requests alone and every completion has noise of its own seed, so that the same prompts, weights and
generator state give the same completions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import torch

from parley.engine.batcher import Batcher
from parley.engine.packed import runner_for
from parley.engine.requests import Ended, Request, Token
from parley.engine.runner import Runner
from parley.model.language_model import LanguageModel

READING_ROWS: Final = 32
READING_TOKENS: Final = 1024  # of prompts in one step: nobody waits for the next token


@dataclass(frozen=True, slots=True)
class Completion:
    """What followed a prompt; the stop token is the last of `tokens` where it `ended`."""

    tokens: tuple[int, ...]
    ended: bool
    logprobs: tuple[float, ...] = ()
    """Of each token under softmax(logits / T), where they were asked for."""


@dataclass(slots=True)
class _Collected:
    """A sink that keeps a completion."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ended: bool = False

    def take(self, token: Token) -> bool:
        self.tokens.append(token.id)
        if token.logprob is not None:
            self.logprobs.append(token.logprob)
        return False

    def end(self, ended: Ended | Exception) -> None:
        if isinstance(ended, Exception):
            raise ended
        self.ended = ended.reason == "stop"


def sample(
    decoder: LanguageModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float,
    end_id: int,
    generator: torch.Generator,
    batch_size: int = 64,
    top_p: float = 1.0,
    logprobs: bool = False,
) -> list[Completion]:
    """A completion of every prompt, in the order of the prompts; at most `batch_size` at once.

    `ConfigError` where a prompt is empty or does not fit the model's context together with
    `max_new_tokens`.
    """
    if not prompts:
        return []
    device = generator.device
    seeds = torch.randint(2**63 - 1, (len(prompts),), generator=generator, device=device).tolist()
    requests = [
        Request(
            prompt=tuple(prompt),
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            stop_ids=frozenset((end_id,)),
            logprobs=0 if logprobs else None,
            logprob_temperature=temperature or 1.0,
            bulk=True,
            remember=False,
        )
        for prompt, seed in zip(prompts, seeds, strict=True)
    ]
    for request in requests:
        request.check(decoder.config)
    exact = decoder.sampling_dtype is torch.float32
    return complete(runner_for(decoder, exact=exact), requests, batch_size=batch_size)


def complete(runner: Runner, requests: Sequence[Request], *, batch_size: int) -> list[Completion]:
    """A completion for every request. Equal prompts come one after the other and are read once; the
    longest are begun first, so that the last to end are not alone for long."""
    order = sorted(range(len(requests)), key=lambda n: (-len(requests[n].prompt), requests[n].prompt))
    batcher = batcher_for(runner, requests, batch_size=batch_size)
    found = {index: _Collected() for index in order}
    left = deque(order)
    while left or not batcher.idle:
        while left and batcher.num_waiting < batch_size:
            index = left.popleft()
            batcher.add(requests[index], found[index])
        batcher.step()
    kept = (found[index] for index in range(len(requests)))
    return [Completion(tuple(one.tokens), one.ended, tuple(one.logprobs)) for one in kept]


def batcher_for(runner: Runner, requests: Sequence[Request], *, batch_size: int) -> Batcher:
    """A batcher with room for these requests, `batch_size` of them at once."""
    return Batcher(
        runner,
        slots=min(batch_size, len(requests)),
        columns=max(len(request.prompt) + request.max_new_tokens for request in requests),
        reading_rows=min(READING_ROWS, batch_size, len(requests)),
        reading_tokens=READING_TOKENS,
    )
