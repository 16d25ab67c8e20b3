"""Tokens in training order: sets of examples, packing into rows, padded batches.

Packing puts several examples into one row with block-diagonal attention and positions that
start again (rule S3), so that the loss is that of the examples alone and little is padding.
The order of examples is a pure function of (seed, epoch): a resumed run has nothing to restore.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from parley.model.sight import Sight

PACKED_REPLIES: Final = 128  # tokens a row in which replies are packed, unless one is longer

Row = list[int]  # indices of the examples in one row


@dataclass(frozen=True, slots=True)
class TokenSet:
    """Examples laid end to end: example i is `tokens[offsets[i]:offsets[i + 1]]`.

    `mask` marks the tokens whose likelihood is trained; an example's first token never is.
    """

    tokens: np.ndarray  # int32 [N]
    mask: np.ndarray  # bool [N]
    offsets: np.ndarray  # int64 [examples + 1]

    @classmethod
    def of(
        cls, examples: Iterable[tuple[Sequence[int] | np.ndarray, Sequence[bool] | np.ndarray]]
    ) -> TokenSet:
        """From (tokens, mask) pairs."""
        tokens: list[np.ndarray] = []
        masks: list[np.ndarray] = []
        for ids, flags in examples:
            mask = np.asarray(flags, dtype=bool).copy()
            mask[:1] = False
            tokens.append(np.asarray(ids, dtype=np.int32))
            masks.append(mask)
        lengths = np.array([0, *(len(item) for item in tokens)], dtype=np.int64)
        if not tokens:
            return cls(np.zeros(0, np.int32), np.zeros(0, bool), lengths)
        return cls(np.concatenate(tokens), np.concatenate(masks), lengths.cumsum())

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens in each example."""
        return np.diff(self.offsets)

    def example(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens and mask of one example."""
        span = slice(self.offsets[index], self.offsets[index + 1])
        return self.tokens[span], self.mask[span]

    def joined(self, other: TokenSet) -> TokenSet:
        """Both sets, `other` last."""
        return TokenSet(
            np.concatenate([self.tokens, other.tokens]),
            np.concatenate([self.mask, other.mask]),
            np.concatenate([self.offsets, other.offsets[1:] + self.offsets[-1]]),
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of packed examples. `segments` is 0 on padding and counts the examples of a row from 1."""

    tokens: Int[Tensor, "B T"]
    positions: Int[Tensor, "B T"]
    segments: Int[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]

    @property
    def sight(self) -> Sight:
        """Each example sees itself alone."""
        return Sight(self.segments)

    @property
    def bias(self) -> Float[Tensor, "B 1 T T"]:
        """The same as an attention bias."""
        return self.sight.bias

    @property
    def previous(self) -> Int[Tensor, "B T"]:
        """The flat index of the token before, in the same example; of no use at its first token."""
        return (
            torch.arange(-1, self.tokens.numel() - 1, device=self.tokens.device)
            .clamp(min=0)
            .view_as(self.tokens)
        )

    @property
    def last(self) -> Int[Tensor, " N"]:
        """The flat index of each example's last token, row by row."""
        following = functional.pad(self.segments[:, 1:], (0, 1))
        return ((self.segments > 0) & (self.segments != following)).flatten().nonzero().squeeze(1)

    @property
    def owners(self) -> Int[Tensor, "B T"]:
        """The example that each supervised token belongs to, counted as `last` counts; -1 elsewhere."""
        before = self.segments.amax(1).cumsum(0).roll(1)
        before[0] = 0
        return (before[:, None] + self.segments - 1).masked_fill(~self.mask, -1)

    @property
    def num_supervised(self) -> int:
        """Tokens that the loss counts."""
        return int(self.mask.sum())


def permutation(size: int, *, seed: int) -> np.ndarray:
    """The order of one epoch."""
    return np.random.default_rng(seed).permutation(size)


def pack(lengths: np.ndarray, order: Iterable[int], *, row_tokens: int, num_rows: int) -> Iterator[list[Row]]:
    """First-fit batches of at most `num_rows` rows of at most `row_tokens` tokens, in `order`.

    Every example occurs exactly once. A longer example is a `ValueError`: cut it before.
    """
    rows: list[Row] = []
    room: list[int] = []
    for index in order:
        need = int(lengths[index])
        if need > row_tokens:
            raise ValueError(f"example {index} has {need} tokens, a row only {row_tokens}")
        place = next((n for n, left in enumerate(room) if left >= need), None)
        if place is None and len(rows) == num_rows:
            yield rows
            rows, room, place = [], [], None
        if place is None:
            rows.append([])
            room.append(row_tokens)
            place = len(rows) - 1
        rows[place].append(int(index))
        room[place] -= need
    if rows:
        yield rows


def packed_batch(examples: TokenSet, rows: list[Row], *, pad: int, device: str) -> Batch:
    """The tensors of one batch of rows; as wide as its fullest row."""
    width = max(sum(int(examples.lengths[i]) for i in row) for row in rows)
    shape = (len(rows), width)
    tokens, positions = np.full(shape, pad, np.int64), np.zeros(shape, np.int64)
    segments, mask = np.zeros(shape, np.int64), np.zeros(shape, bool)
    for r, row in enumerate(rows):
        start = 0
        for number, index in enumerate(row, start=1):
            ids, flags = examples.example(index)
            span = slice(start, start + len(ids))
            tokens[r, span], mask[r, span] = ids, flags
            positions[r, span], segments[r, span] = np.arange(len(ids)), number
            start = span.stop
    arrays = (tokens, positions, segments, mask)
    return Batch(*(torch.from_numpy(array).to(device) for array in arrays))


@dataclass(frozen=True, slots=True)
class ReplyBatch:
    """Examples laid out twice: packed rows for forward passes, one row an example for figures.

    `mask` marks the supervised tokens one example a row, `place[m]` says where the m-th of them
    (row by row) stands among the supervised tokens of `packed`.
    """

    packed: Batch
    mask: Bool[Tensor, "B T"]
    place: Int[Tensor, " M"]

    @property
    def rank(self) -> Int[Tensor, " B"]:
        """The number of each example among those of `packed`, as `Batch.last` counts them."""
        counts = self.mask.sum(1)
        return self.place[counts.cumsum(0) - counts].argsort().argsort()

    def spread(self, figures: Float[Tensor, " M"]) -> Float[Tensor, "B T"]:
        """One figure for each supervised token of `packed`, one example a row; 0 elsewhere."""
        result = torch.zeros(self.mask.shape, dtype=figures.dtype, device=figures.device)
        return result.masked_scatter(self.mask, figures[self.place])


def reply_batch(examples: TokenSet, indices: Sequence[int], *, pad: int, device: str) -> ReplyBatch:
    """The chosen examples, in the order of `indices` in the layout of figures."""
    lengths = examples.lengths
    width = int(max(lengths[i] for i in indices))
    (rows,) = pack(lengths, indices, row_tokens=max(width, PACKED_REPLIES), num_rows=len(indices))
    counts = {i: int(examples.example(i)[1].sum()) for i in indices}
    starts: dict[int, int] = {}
    seen = 0
    for index in (i for row in rows for i in row):
        starts[index] = seen
        seen += counts[index]
    mask = np.zeros((len(indices), width), bool)
    for b, index in enumerate(indices):
        mask[b, : lengths[index]] = examples.example(index)[1]
    place = np.concatenate([np.arange(starts[i], starts[i] + counts[i]) for i in indices])
    packed = packed_batch(examples, rows, pad=pad, device=device)
    return ReplyBatch(packed, torch.from_numpy(mask).to(device), torch.from_numpy(place).to(device))


def epoch_batches(examples: TokenSet, *, seed: int, row_tokens: int, batch_tokens: int) -> list[list[Row]]:
    """One epoch of packed batches of about `batch_tokens` tokens, in an order of its own."""
    order = permutation(len(examples), seed=seed)
    num_rows = max(1, batch_tokens // row_tokens)
    return list(pack(examples.lengths, order, row_tokens=row_tokens, num_rows=num_rows))


def in_order_batches(examples: TokenSet, *, row_tokens: int, batch_tokens: int) -> list[list[Row]]:
    """Batches for measuring: the examples as they stand."""
    num_rows = max(1, batch_tokens // row_tokens)
    return list(pack(examples.lengths, range(len(examples)), row_tokens=row_tokens, num_rows=num_rows))


def portions(sizes: Sequence[int] | np.ndarray, *, batch_tokens: int) -> Iterator[range]:
    """Everything in order, in portions of at most `batch_tokens` tokens; what is larger stands alone."""
    start, total = 0, 0
    for index, size in enumerate(sizes):
        if index > start and total + int(size) > batch_tokens:
            yield range(start, index)
            start, total = index, 0
        total += int(size)
    if start < len(sizes):
        yield range(start, len(sizes))


def chunks(tokens: Sequence[int], *, size: int) -> Iterator[Sequence[int]]:
    """A long text in consecutive pieces of at most `size` tokens. Neighbours share one token, so
    that every token but the first is predicted exactly once."""
    for start in range(0, max(len(tokens) - 1, 1), size - 1):
        yield tokens[start : start + size]
