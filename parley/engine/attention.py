"""Attention over the slots: one query a reply while writing, a chunk of queries while reading.

Explicit products: torch's own kernel takes two to five times as long for one query on a CPU.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from parley.engine.slots import PAGE, paged
from parley.model.cache import BLOCKED

PAGES: Final = (PAGE, 128, 256, 512)
TRIED_COLUMNS: Final = 1024


def attend(
    query: Float[Tensor, "RH M d"],
    keys: Float[Tensor, "RH S d"],
    values: Float[Tensor, "RH S d"],
    bias: Float[Tensor, "#RH #M S"],
) -> Float[Tensor, "RH M d"]:
    """What each query gathers; M queries share a key-value head."""
    scores = torch.baddbmm(bias, query, keys.transpose(1, 2), alpha=query.shape[-1] ** -0.5)
    return torch.bmm(torch.softmax(scores, -1), values)


def column_bias(last: Int[Tensor, "*rows"], columns: int) -> Float[Tensor, "*rows S"]:
    """0 up to the column `last`, a large negative number behind it."""
    behind = torch.arange(columns, device=last.device) > last[..., None]
    return torch.zeros(behind.shape, device=last.device).masked_fill_(behind, BLOCKED)


@cache
def column_page(queries: int, head_dim: int, columns: int, machine: tuple[torch.device, int]) -> int:
    """The smallest page of columns such that a reply gathers the same, bit for bit, however many
    pages its longest neighbour makes it read. All columns is always right.

    `queries` share a key-value head; `machine` is the device and the number of threads.
    """
    whole = min(paged(columns), TRIED_COLUMNS)
    fitting = (page for page in PAGES if whole % page == 0 and page <= whole)
    return next((page for page in fitting if _steady(page, whole, queries, head_dim, machine[0])), columns)


def _steady(page: int, whole: int, queries: int, head_dim: int, device: torch.device) -> bool:
    generator = torch.Generator().manual_seed(page)
    keys, values = torch.randn(2, 4, whole, head_dim, generator=generator).to(device)
    query = torch.randn(4, queries, head_dim, generator=generator).to(device)

    def gathered(length: int, columns: int) -> Tensor:
        bias = column_bias(torch.full((1, 1), length - 1, device=device), columns)
        return attend(query, keys[:, :columns], values[:, :columns], bias)

    return all(
        torch.equal(gathered(length, columns), gathered(length, whole))
        for length in (3, page - 1, page)
        for columns in range(page, whole, page)
    )
