"""What is asked of the engine, and what it says while it writes: values that cross threads.

Token ids in, token ids out (P24): nothing is rendered or decoded here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol

import numpy as np

from parley.errors import ConfigError
from parley.model.language_model import ModelShape

Reason = Literal["stop", "length", "cancelled", "deadline"]

WORD: Final = 2**64
MANTISSA: Final = 2.0**-53
MAX_ALTERNATIVES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One reply to be written after `prompt`.

    The reply is a function of weights, prompt and these settings alone: what else is in the batch
    changes nothing in exact mode. Temperature 0 is greedy, `top_p` 1 and `top_k` 0 keep every token,
    `logit_bias` is added to the logits, of which a token that the reply holds already loses
    `presence_penalty`, and `frequency_penalty` for each time. `logprobs` asks for the log-probability
    of each token under the model itself (none of these, at `logprob_temperature`) and for so many of the
    likeliest; None for neither.
    `deadline` is on `time.monotonic`'s clock. `bulk` work waits behind people; `remember` lets the
    prompt's beginning be used again by later prompts.
    """

    prompt: tuple[int, ...]
    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0
    stop_ids: frozenset[int] = frozenset()
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logprobs: int | None = None
    logprob_temperature: float = 1.0
    deadline: float = math.inf
    bulk: bool = False
    remember: bool = True

    def several(self, count: int) -> tuple[Request, ...]:
        """As many requests for the same prompt: the first is this one, each has a seed of its own that
        follows from this one's. Handed in together they read the prompt once."""
        seeds = np.random.SeedSequence(self.seed % WORD).generate_state(count, np.uint64).tolist()
        return (self, *(replace(self, seed=seed) for seed in seeds[1:]))

    def noise(self) -> list[float]:
        """A number of [0, 1) for each new token: Philox counts positions under the seed as its key."""
        raw = np.random.Philox(key=self.seed % WORD).random_raw(self.max_new_tokens)
        found: list[float] = ((raw >> np.uint64(11)) * MANTISSA).tolist()
        return found

    def check(self, shape: ModelShape) -> None:
        """`ConfigError` for what the model cannot do."""
        if not self.prompt:
            raise ConfigError("a prompt needs at least one token")
        if len(self.prompt) + self.max_new_tokens > shape.max_positions:
            raise ConfigError(
                f"a prompt of {len(self.prompt)} tokens and {self.max_new_tokens} new ones exceed the "
                f"model's context of {shape.max_positions} tokens"
            )
        self._check_numbers()
        for token in (*self.prompt, *self.logit_bias):
            if not 0 <= token < shape.vocab_size:
                raise ConfigError(f"token {token} is not one of the model's {shape.vocab_size}")

    def _check_numbers(self) -> None:
        allowed = (
            ("max_new_tokens", self.max_new_tokens, self.max_new_tokens >= 1),
            ("temperature", self.temperature, 0 <= self.temperature < math.inf),
            ("top_p", self.top_p, 0 < self.top_p <= 1),
            ("top_k", self.top_k, self.top_k >= 0),
            ("logprobs", self.logprobs, self.logprobs is None or 0 <= self.logprobs <= MAX_ALTERNATIVES),
            ("logprob_temperature", self.logprob_temperature, 0 < self.logprob_temperature < math.inf),
            ("logit_bias", self.logit_bias, all(map(math.isfinite, self.logit_bias.values()))),
            ("presence_penalty", self.presence_penalty, math.isfinite(self.presence_penalty)),
            ("frequency_penalty", self.frequency_penalty, math.isfinite(self.frequency_penalty)),
        )
        for name, value, good in allowed:
            if not good:
                raise ConfigError(f"{name} is out of range: {value!r}")


@dataclass(frozen=True, slots=True)
class Token:
    """A token of the reply; `logprob` and the likeliest `(id, logprob)` where they were asked for."""

    id: int
    logprob: float | None = None
    likeliest: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a reply. `prompt_reused` of the prompt's tokens were read before, for another reply.

    `versions`: the first and the last weights that wrote it, counted from 0 by `Batcher.swap`.
    """

    reason: Reason
    prompt_tokens: int
    prompt_reused: int
    tokens: int
    versions: tuple[int, int]


class Sink(Protocol):
    """Who gets a reply, token by token, in the engine's thread: be quick."""

    def take(self, token: Token) -> bool:
        """The next token; True ends the reply with it."""
        ...

    def end(self, ended: Ended | Exception) -> None:
        """Nothing more comes."""
        ...


@dataclass(slots=True, eq=False)
class Ticket:
    """A request on its way through the engine."""

    request: Request
    sink: Sink
    noise: list[float]
    came: float
    """When, on `time.monotonic`'s clock."""
    cancelled: bool = False
    drawn: list[int] = field(default_factory=list)
    prompt_reused: int = 0
    began: int = 0  # version of the weights

    def penalties(self) -> dict[int, float]:
        """What the tokens drawn so far have added to their logits."""
        one = self.request
        if not (one.presence_penalty or one.frequency_penalty):
            return {}
        times = Counter(self.drawn)
        return {
            token: -one.presence_penalty - count * one.frequency_penalty for token, count in times.items()
        }

    @property
    def columns(self) -> int:
        """How many of its tokens the cache holds: all but the last drawn one."""
        return len(self.request.prompt) + len(self.drawn) - 1

    def due(self, now: float) -> Reason | None:
        """Why it must stop now, drawn out or not."""
        if self.cancelled:
            return "cancelled"
        return "deadline" if now >= self.request.deadline else None

    def take(self, token: Token) -> Reason | None:
        """Hand the token on; why the reply ends with it, if it does."""
        self.drawn.append(token.id)
        if self.sink.take(token) or token.id in self.request.stop_ids:
            return "stop"
        return "length" if len(self.drawn) == self.request.max_new_tokens else None

    def end(self, reason: Reason, version: int) -> None:
        """Say that nothing more comes."""
        began = self.began if self.drawn else version
        prompt = len(self.request.prompt)
        self.sink.end(Ended(reason, prompt, self.prompt_reused, len(self.drawn), (began, version)))
