"""Token sampling with a static key-value cache: batches for rollouts, one sequence for streaming.

Prompts are padded on the left with explicit positions (P14) and sorted by length; equal prompts are
read once; rows that are done leave the batch once they are a quarter of it. Token ids in, token ids
out (P24): nothing is decoded here. Tokens are drawn from `softmax(logits / T)`, the distribution
whose log-probabilities `LanguageModel.token_logprobs` gives (P1); `top_p` below 1 is for serving only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from parley.errors import ConfigError
from parley.model.cache import KeyValueCache, empty_cache
from parley.model.language_model import LanguageModel

COLDEST: Final = 1e-6  # below, logits / T leave fp32: the most probable token is taken
DROP_AT: Final = 0.25  # share of finished rows at which a batch is made smaller


@dataclass(frozen=True, slots=True)
class Completion:
    """What followed a prompt; the stop token is the last of `tokens` where it `ended`."""

    tokens: tuple[int, ...]
    ended: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """How one token is chosen from its logits. Temperature 0 takes the most probable."""

    temperature: float
    top_p: float
    generator: torch.Generator

    def tokens(self, logits: Float[Tensor, "B V"]) -> Int[Tensor, " B"]:
        """One token a row: the largest of `logits / T` plus Gumbel noise is a fair draw."""
        if self.temperature < COLDEST:
            return logits.argmax(-1)
        scaled = logits / self.temperature
        if self.top_p < 1:
            scaled = nucleus(scaled, self.top_p)
        uniform = torch.rand(scaled.shape, generator=self.generator, device=self.generator.device)
        waits = uniform.to(scaled.device).log_().neg_()  # torch's own exponential_ takes 4 times as long
        return (scaled - waits.log_()).argmax(-1)


def nucleus(logits: Float[Tensor, "B V"], top_p: float) -> Float[Tensor, "B V"]:
    """Logits with all but the smallest set of tokens that holds `top_p` of the mass at minus infinity."""
    ordered, order = logits.softmax(-1).sort(-1, descending=True)
    beyond = ordered.cumsum(-1) - ordered >= top_p
    beyond[..., 0] = False  # the most probable token always stays
    return logits.masked_fill(torch.zeros_like(beyond).scatter(-1, order, beyond), -torch.inf)


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
) -> list[Completion]:
    """A completion of every prompt, in the order of the prompts.

    The same prompts, weights and generator state give the same completions. `ConfigError` where a
    prompt is empty or does not fit the model's context together with `max_new_tokens`.
    """
    _check_room(decoder, prompts, max_new_tokens)
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    choice = Choice(temperature, top_p, generator)
    found: dict[int, Completion] = {}
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        some = _sample_batch(decoder, [prompts[row] for row in rows], max_new_tokens, end_id, choice)
        found |= zip(rows, some, strict=True)
    return [found[index] for index in range(len(prompts))]


def stream(
    decoder: LanguageModel,
    prompt: Sequence[int],
    *,
    max_new_tokens: int,
    temperature: float,
    end_id: int,
    generator: torch.Generator,
    top_p: float = 1.0,
) -> Iterator[int]:
    """The tokens of one completion as they are drawn, the stop token included. Closing it stops."""
    _check_room(decoder, [prompt], max_new_tokens)
    choice = Choice(temperature, top_p, generator)
    return _stream(
        _prefill(decoder, [prompt], max_new_tokens, choice), decoder, max_new_tokens, end_id, choice
    )


def _check_room(decoder: LanguageModel, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> None:
    room = decoder.config.max_positions
    for prompt in prompts:
        if not prompt:
            raise ConfigError("a prompt needs at least one token")
        if len(prompt) + max_new_tokens > room:
            raise ConfigError(
                f"a prompt of {len(prompt)} tokens and {max_new_tokens} new ones exceed the model's "
                f"context of {room} tokens"
            )


@dataclass(slots=True)
class _Batch:
    """Rows that are still being written: their cache, next positions and last drawn tokens."""

    cache: KeyValueCache
    positions: Int[Tensor, " B"]
    drawn: Int[Tensor, " B"]


@torch.inference_mode()
def _prefill(
    decoder: LanguageModel, prompts: Sequence[Sequence[int]], max_new_tokens: int, choice: Choice
) -> _Batch:
    """The batch after its first drawn tokens; every distinct prompt is read once."""
    place = {prompt: index for index, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
    config, device = decoder.config, decoder.device
    lengths = torch.tensor([len(prompt) for prompt in place], device=device)
    width = int(lengths.max())
    padded = [[0] * (width - len(prompt)) + list(prompt) for prompt in place]
    starts = width - lengths
    columns = width + max_new_tokens
    cache = empty_cache(
        starts, layers=config.layers, kv_heads=config.kv_heads, columns=columns, head_dim=config.head_dim
    )
    positions = (torch.arange(width, device=device) - starts[:, None]).clamp_(min=0)
    hidden = decoder.forward_cached(torch.tensor(padded, device=device), positions, cache)[:, -1]
    if len(place) < len(prompts):
        rows = torch.tensor([place[tuple(prompt)] for prompt in prompts], device=device)
        cache, hidden, lengths = cache.rows(rows), hidden[rows], lengths[rows]
    return _Batch(cache, lengths, choice.tokens(decoder.logits(hidden)))


@torch.inference_mode()
def _step(decoder: LanguageModel, batch: _Batch, choice: Choice) -> None:
    """Read the drawn tokens and draw the next ones."""
    hidden = decoder.forward_cached(batch.drawn[:, None], batch.positions[:, None], batch.cache)
    batch.positions = batch.positions + 1
    batch.drawn = choice.tokens(decoder.logits(hidden[:, 0]))


def _keep(batch: _Batch, rows: Tensor) -> _Batch:
    return _Batch(batch.cache.rows(rows), batch.positions[rows], batch.drawn[rows])


@torch.inference_mode()
def _sample_batch(
    decoder: LanguageModel, prompts: Sequence[Sequence[int]], max_new_tokens: int, end_id: int, choice: Choice
) -> list[Completion]:
    batch = _prefill(decoder, prompts, max_new_tokens, choice)
    live = torch.arange(len(prompts), device=batch.drawn.device)  # which prompt each row of the batch is
    written = torch.full((len(prompts), max_new_tokens), end_id, device=live.device)
    done = torch.zeros_like(live, dtype=torch.bool)
    for count in range(max_new_tokens):
        written[live, count] = batch.drawn.masked_fill(done, end_id)
        done = done | (batch.drawn == end_id)
        finished = int(done.sum())
        if finished == len(live) or count + 1 == max_new_tokens:
            break
        if finished >= DROP_AT * len(live):
            rows = (~done).nonzero()[:, 0]
            batch, live, done = _keep(batch, rows), live[rows], done[rows]
        _step(decoder, batch, choice)
    return [_completion(row, end_id) for row in written.tolist()]


def _completion(row: list[int], end_id: int) -> Completion:
    ended = end_id in row
    return Completion(tuple(row[: row.index(end_id) + 1] if ended else row), ended)


def _stream(
    batch: _Batch, decoder: LanguageModel, max_new_tokens: int, end_id: int, choice: Choice
) -> Iterator[int]:
    for count in range(max_new_tokens):
        if count:
            _step(decoder, batch, choice)
        token = int(batch.drawn[0])
        yield token
        if token == end_id:
            return
