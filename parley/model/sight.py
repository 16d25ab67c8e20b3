"""Who sees whom in rows of packed texts: as one dense bias, or text by text.

A dense bias makes attention compute every row against itself, most of it only to be thrown away: a row holds
several texts. Text by text nothing is. Both say the same (tested).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from parley.model.cache import BLOCKED

WORTHWHILE: Final = 0.7  # share of the work below which it is done text by text


class Text(NamedTuple):
    """A segment's tokens and those of its parent, as spans of flat indices; a parent may be empty."""

    own: slice
    parent: slice

    @property
    def size(self) -> int:
        """Tokens of its own."""
        return int(self.own.stop - self.own.start)

    @property
    def before(self) -> int:
        """Tokens of the parent."""
        return int(self.parent.stop - self.parent.start)


@dataclass(frozen=True)
class Sight:
    """A token sees earlier tokens of its own segment and itself, and those of its parent segment where it
    has one (a history that several replies share). Segment 0 is padding, which nobody sees.

    Segments are runs of neighbours; a parent stands before its children in the same row.
    """

    segments: Int[Tensor, "B T"]
    parents: Int[Tensor, "B T"] | None = None

    @cached_property
    def bias(self) -> Float[Tensor, "B 1 T T"]:
        """0 where a query (row) may see a key (column), a large negative number elsewhere."""
        return causal_bias(self.segments, self.parents)

    @cached_property
    def worthwhile(self) -> bool:
        """Whether going text by text saves a good part of the work of going row by row."""
        rows, width = self.segments.shape
        area = sum((text.size + text.before) * text.size for text in self.texts)
        return area < WORTHWHILE * rows * width**2

    @cached_property
    def texts(self) -> tuple[Text, ...]:
        """Every segment, row by row; padding is in none."""
        found: list[Text] = []
        segments = self.segments.cpu().numpy()
        above = None if self.parents is None else self.parents.cpu().numpy()
        width = segments.shape[1]
        for row, numbers in enumerate(segments):
            edges = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), width]
            places = {0: slice(0, 0)}
            for start, end in pairwise(edges):
                if numbers[start]:
                    own = slice(row * width + start, row * width + end)
                    places[int(numbers[start])] = own
                    found.append(Text(own, places[0 if above is None else int(above[row, start])]))
        return tuple(found)


def causal_bias(
    segments: Int[Tensor, "B T"], parents: Int[Tensor, "B T"] | None = None
) -> Float[Tensor, "B 1 T T"]:
    """What `Sight` says, as a bias. Rows of padding come out uniform rather than NaN."""
    length = segments.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    keys = segments[:, None, :]
    same = segments[:, :, None] == keys
    if parents is not None:
        same = same | (parents[:, :, None] == keys)
    same = same & (keys != 0)
    blocked = torch.full((), BLOCKED, device=segments.device)
    return torch.where(same & earlier, torch.zeros_like(blocked), blocked)[:, None]


def dense(sight: Sight | Float[Tensor, "B 1 T T"]) -> Float[Tensor, "B 1 T T"]:
    """The bias of either."""
    return sight if isinstance(sight, Tensor) else sight.bias
