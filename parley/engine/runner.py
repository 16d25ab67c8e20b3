"""The model's part of one step of the engine: tokens of many replies in, logits out.

A step reads a chunk or more of some prompts and, in the same pass, the last token of every reply
that is being written. `engine.packed` is the fast way for our own decoder, in all its families;
`ModelRunner` here asks any language model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from parley.engine.attention import column_bias
from parley.engine.slots import Slots, paged
from parley.model.language_model import LanguageModel, ModelShape

CHUNK: Final = 32  # tokens of a prompt that are read together; every chunk begins at a multiple of it


@dataclass(frozen=True, slots=True)
class Chunk:
    """Chunk number `index` of a prompt that is read in row `row`; only a last one is shorter."""

    row: int
    index: int
    tokens: tuple[int, ...]
    last: bool


@dataclass(frozen=True, slots=True)
class Step:
    """What one pass reads: the last token and its column of rows 0, 1, … of `writing`, and chunks of
    the prompts in `reading`."""

    writing: Slots
    tokens: Sequence[int]
    columns: Sequence[int]
    reading: Slots
    chunks: Sequence[Chunk]

    def groups(self) -> Iterator[tuple[Chunk, ...]]:
        """Chunks that are read as one batch: of the same index, in rows one behind the other."""
        ordered = sorted(self.chunks, key=lambda chunk: (chunk.index, chunk.row))
        ends = [
            n for n, (a, b) in enumerate(pairwise(ordered), 1) if (b.index, b.row) != (a.index, a.row + 1)
        ]
        for first, last in pairwise((0, *ends, len(ordered))):
            if first < last:
                yield tuple(ordered[first:last])


class Runner(Protocol):
    """A model as the engine drives it."""

    @property
    def shape(self) -> ModelShape:
        """Of the model."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        ...

    def slots(self, *, rows: int, columns: int) -> Slots:
        """Memory for so many replies of so many tokens."""
        ...

    def run(self, step: Step) -> Float[Tensor, "N V"]:
        """Logits behind every written token, in order, then behind every last chunk, in their order."""
        ...


class ModelRunner:
    """Any model. In exact mode every pass has one shape, whatever there is to do: all slots, all
    columns, one chunk."""

    def __init__(self, model: LanguageModel, *, exact: bool) -> None:
        self._model, self._exact = model, exact
        self.shape, self.device = model.config, model.device

    def slots(self, *, rows: int, columns: int) -> Slots:
        """Memory for so many replies of so many tokens."""
        return Slots(self.shape, rows=rows, columns=columns, device=self.device)

    def run(self, step: Step) -> Float[Tensor, "N V"]:
        """Written tokens in one pass, every group of chunks in one of its own."""
        hidden = [self._written(step)] if step.tokens else []
        ends: dict[Chunk, Tensor] = {}
        for group in step.groups():
            for part in ([one] for one in group) if self._exact else (group,):
                ends |= self._read(step.reading, part)
        hidden += [ends[chunk][None] for chunk in step.chunks if chunk.last]
        if not hidden:
            return torch.empty(0, self.shape.vocab_size, device=self.device)
        return self._logits(torch.cat(hidden), step.writing.rows + step.reading.rows)

    def _logits(self, hidden: Tensor, rows: int) -> Tensor:
        if not self._exact:
            return self._model.logits(hidden)
        padded = torch.zeros(max(rows, len(hidden)), hidden.shape[1], device=self.device)
        padded[: len(hidden)] = hidden
        return self._model.logits(padded)[: len(hidden)]

    def _written(self, step: Step) -> Tensor:
        spare = step.writing.rows - len(step.tokens) if self._exact else 0
        tokens, columns = ([*some, *[0] * spare] for some in (step.tokens, step.columns))
        width = step.writing.columns if self._exact else paged(max(columns) + 1)
        rows = slice(0, len(tokens))
        return self._pass(step.writing, rows, [[n] for n in tokens], columns, width)[: len(step.tokens), 0]

    def _read(self, slots: Slots, group: Sequence[Chunk]) -> Iterator[tuple[Chunk, Tensor]]:
        begin = group[0].index * CHUNK
        rows = slice(group[0].row, group[-1].row + 1)
        tokens = [[*chunk.tokens, *[0] * (CHUNK - len(chunk.tokens))] for chunk in group]
        hidden = self._pass(slots, rows, tokens, [begin] * len(group), paged(begin + CHUNK))
        return ((chunk, own[len(chunk.tokens) - 1]) for chunk, own in zip(group, hidden, strict=True))

    def _pass(
        self, slots: Slots, rows: slice, tokens: Sequence[Sequence[int]], starts: Sequence[int], width: int
    ) -> Tensor:
        ids, begins = (torch.tensor(some, device=self.device) for some in (tokens, starts))
        positions = begins[:, None] + torch.arange(ids.shape[1], device=self.device)
        window = _Window(slots, rows.start, positions, min(width, slots.columns))
        return self._model.forward_cached(ids, positions.clamp(max=self.shape.max_positions - 1), window)


class _Window:
    """A few rows of the slots, as a model sees its cache."""

    def __init__(self, slots: Slots, first: int, positions: Int[Tensor, "B N"], width: int) -> None:
        self._slots, self._first, self._width = slots, first, width
        self._positions, self.used = positions, 0
        rows = torch.arange(first, first + len(positions), device=positions.device)
        self._places = slots.places(rows.repeat_interleave(positions.shape[1]), positions.flatten())

    def append(
        self, layer: int, key: Float[Tensor, "H B N d"], value: Float[Tensor, "H B N d"]
    ) -> tuple[Float[Tensor, "H B S d"], Float[Tensor, "H B S d"]]:
        new = (part.permute(1, 2, 0, 3).flatten(0, 1) for part in (key, value))
        self._slots.write(layer, self._places, *new)
        found = self._slots.read(layer, self._first, self._first + len(self._positions), self._width)
        keys, values = (part.view(-1, self._slots.heads, *part.shape[1:]).transpose(0, 1) for part in found)
        return keys, values

    def advance(self, count: int) -> None:
        self.used += count

    def bias(self, count: int) -> Float[Tensor, "B 1 N S"]:
        del count
        return column_bias(self._positions, self._width)[:, None]
