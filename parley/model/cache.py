"""The static key-value cache of cached decoding.

One fp32 block `[L, 2, H_kv, B, T, d]` is allocated for a whole batch; steps write into it. bfloat16
would halve it but makes attention over it two to three times slower on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

BLOCKED: Final = -1e30  # added to attention scores; finite, so that a row of padding gives no NaN


class CacheView(Protocol):
    """What a model asks of the cache that it is given."""

    @property
    def used(self) -> int:
        """Columns that were there before."""
        ...

    def append(
        self, layer: int, key: Float[Tensor, "H B N d"], value: Float[Tensor, "H B N d"]
    ) -> tuple[Float[Tensor, "H B S d"], Float[Tensor, "H B S d"]]:
        """Everything that the layer now remembers, the new columns included."""
        ...

    def advance(self, count: int) -> None:
        """Every layer has written `count` more columns."""
        ...

    def bias(self, count: int) -> Float[Tensor, "B 1 N S"]:
        """What the next `count` columns may see."""
        ...


@dataclass(slots=True)
class KeyValueCache:
    """Keys and values of the first `used` columns of every row.

    Rows are padded on the left: row `b` begins in column `starts[b]`.
    """

    store: Float[Tensor, "L 2 H B T d"]
    starts: Int[Tensor, " B"]
    used: int = 0

    def append(
        self, layer: int, key: Float[Tensor, "H B N d"], value: Float[Tensor, "H B N d"]
    ) -> tuple[Float[Tensor, "H B S d"], Float[Tensor, "H B S d"]]:
        """Everything that the layer now remembers, the new columns included."""
        end = self.used + key.shape[2]
        here = self.store[layer]
        here[0, :, :, self.used : end] = key
        here[1, :, :, self.used : end] = value
        return here[0, :, :, :end], here[1, :, :, :end]

    def advance(self, count: int) -> None:
        """Every layer has written `count` more columns."""
        self.used += count

    def bias(self, count: int) -> Float[Tensor, "B 1 N S"]:
        """What the next `count` columns may see: `causal_bias` for rows padded on the left."""
        columns = torch.arange(self.used + count, device=self.store.device)
        seen = (columns >= self.starts[:, None])[:, None] & (columns <= columns[self.used :, None])
        blocked = torch.full((), BLOCKED, device=self.store.device)
        return torch.where(seen, torch.zeros_like(blocked), blocked)[:, None]


def empty_cache(
    starts: Int[Tensor, " B"], *, layers: int, kv_heads: int, columns: int, head_dim: int
) -> KeyValueCache:
    """Room for `columns` tokens of each row, on the device of `starts`."""
    shape = (layers, 2, kv_heads, len(starts), columns, head_dim)
    return KeyValueCache(torch.zeros(shape, device=starts.device), starts)
