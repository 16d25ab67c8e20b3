"""What an engine has to do now and what it has done since it began, for metrics."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from parley.engine.requests import Reason

Outcome = Reason | Literal["failed"]

BOUNDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many durations fell up to each bound (and not up to the one before); the last entry of
    `counts` is for those beyond all."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum_seconds: float

    @property
    def mean_seconds(self) -> float:
        """0 where there were none."""
        return self.sum_seconds / max(sum(self.counts), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """A moment's numbers. All but the first five only ever grow."""

    waiting: int
    """Requests without a slot."""
    running: int
    """Replies that are being written, or whose prompt is being read."""
    slots: int
    """How many of these there can be at once."""
    tokens_per_second: float
    """While there was something to do, over the last hundred steps or so."""
    retry_after_seconds: int
    """What a request would be told that is refused now."""
    requests: int
    """Taken."""
    refused: int
    ended: Mapping[Outcome, int]
    prompt_tokens: int
    """Of requests whose reply has begun."""
    prompt_reused: int
    """Those of them that were read before."""
    tokens: int
    """Drawn."""
    steps: int
    first_token: Histogram
    """From being handed in to the first token."""

    @property
    def batch_size(self) -> float:
        """Tokens drawn in one step, on average since the engine began."""
        return self.tokens / max(self.steps, 1)


@dataclass(slots=True)
class Tally:
    """What a batcher counts as it goes; one thread writes, others may read."""

    ended: Counter[Outcome] = field(default_factory=Counter)
    prompt_tokens: int = 0
    prompt_reused: int = 0
    tokens: int = 0
    steps: int = 0
    first_token_seconds: float = 0.0
    first_tokens: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))

    def begin(self, *, prompt_tokens: int, prompt_reused: int, seconds: float) -> None:
        """A reply has its first token, so long after it was asked for."""
        self.prompt_tokens += prompt_tokens
        self.prompt_reused += prompt_reused
        self.first_token_seconds += seconds
        self.first_tokens[bisect_left(BOUNDS, seconds)] += 1

    @property
    def first_token(self) -> Histogram:
        """So far."""
        return Histogram(BOUNDS, tuple(self.first_tokens), self.first_token_seconds)
