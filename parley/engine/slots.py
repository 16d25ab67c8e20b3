"""Keys and values of many replies, a row each: every row fills its own columns from 0.

Rows lie one behind the other (`[R H_kv T d]` a layer), so that the first n rows are one batch of
matrices without a copy. fp32: bfloat16 would halve it but makes attention two to three times slower
on a CPU. What stands behind a row's columns is finite and never seen.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from math import prod
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from parley.model.language_model import ModelShape

PAGE: Final = 64  # columns are read in multiples of this


def paged(columns: int, page: int = PAGE) -> int:
    """The next multiple of a page."""
    return -(-columns // page) * page


def bytes_of_token(shape: ModelShape) -> int:
    """What one column of one row takes."""
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * 4


def _zeros(size: Sequence[int], device: torch.device) -> Tensor:
    """On a CPU, memory that is taken only where it is written to: most replies are short."""
    if device.type != "cpu":
        return torch.zeros(size, device=device)
    return torch.frombuffer(mmap.mmap(-1, max(4 * prod(size), 1)), dtype=torch.float32).view(*size)


class Slots:
    """The cache of `rows` replies of up to `columns` tokens each."""

    def __init__(self, shape: ModelShape, *, rows: int, columns: int, device: torch.device) -> None:
        self.rows, self.columns, self.heads = rows, paged(columns), shape.kv_heads
        size = (shape.layers, rows, shape.kv_heads, self.columns, shape.head_dim)
        self.keys, self.values = _zeros(size, device), _zeros(size, device)
        self._head_rows = torch.arange(shape.kv_heads, device=device)
        self._flat = [
            (key.view(-1, shape.head_dim), value.view(-1, shape.head_dim))
            for key, value in zip(self.keys, self.values, strict=True)
        ]

    def places(self, rows: Int[Tensor, " N"], columns: Int[Tensor, " N"]) -> Int[Tensor, " NH"]:
        """Where the tokens at these rows and columns are written, in every layer."""
        return ((rows[:, None] * self.heads + self._head_rows) * self.columns + columns[:, None]).flatten()

    def write(
        self,
        layer: int,
        places: Int[Tensor, " NH"],
        key: Float[Tensor, "N H d"],
        value: Float[Tensor, "N H d"],
    ) -> None:
        """Put tokens into their `places`."""
        keys, values = self._flat[layer]
        keys.index_copy_(0, places, key.flatten(0, 1))
        values.index_copy_(0, places, value.flatten(0, 1))

    def read(
        self, layer: int, first: int, last: int, columns: int
    ) -> tuple[Float[Tensor, "RH S d"], Float[Tensor, "RH S d"]]:
        """The first columns of rows `first` to `last` (not included), a matrix for each row and head."""
        keys = self.keys[layer, first:last, :, :columns]
        values = self.values[layer, first:last, :, :columns]
        return keys.flatten(0, 1), values.flatten(0, 1)

    def copy(self, row: int, other: Slots, source: int, columns: int) -> None:
        """`row` becomes a copy of the first columns of another row, perhaps of another cache."""
        self.keys[:, row, :, :columns] = other.keys[:, source, :, :columns]
        self.values[:, row, :, :columns] = other.values[:, source, :, :columns]

    def block(self, row: int, first: int, last: int) -> Float[Tensor, "2 L H n d"]:
        """A copy of columns `first` to `last` (not included) of a row."""
        keys, values = self.keys[:, row, :, first:last], self.values[:, row, :, first:last]
        return torch.stack((keys, values))

    def put(self, row: int, first: int, blocks: Sequence[Float[Tensor, "2 L H n d"]]) -> None:
        """Blocks one behind the other into a row, from column `first` on."""
        keys, values = torch.cat(list(blocks), 3)
        self.keys[:, row, :, first : first + keys.shape[2]] = keys
        self.values[:, row, :, first : first + keys.shape[2]] = values

    def release(self, row: int) -> None:
        """Nothing of this row is needed any more."""

    def scrub(self, row: int) -> None:
        """Zeros, where a broken model may have left what is not a number."""
        self.keys[:, row] = 0.0
        self.values[:, row] = 0.0
