"""What prompts begin with, kept for later prompts: a conversation's next turn, a shared system turn.

Whole chunks only, as they came out of reading a prompt: what a reply's own tokens left in the cache
was computed one token at a time, and its last bits are others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from parley.engine.runner import CHUNK
from parley.engine.slots import Slots


@dataclass(frozen=True, slots=True)
class _Node:
    """A chunk that follows another one (0: none)."""

    number: int
    block: Tensor


class PrefixCache:
    """Up to `limit` bytes of chunks; those that were not used for longest leave first."""

    def __init__(self, limit: int) -> None:
        self._limit, self.bytes, self._numbers = limit, 0, 0
        self._nodes: OrderedDict[tuple[int, tuple[int, ...]], _Node] = OrderedDict()

    def find(self, prompt: Sequence[int]) -> list[Tensor]:
        """The chunks that the prompt begins with; its last token is always left to be read."""
        known = list(self._known(prompt[: len(prompt) - 1]))
        self._touch([key for key, _ in known])
        return [node.block for _, node in known]

    def keep(self, prompt: Sequence[int], slots: Slots, row: int) -> None:
        """The chunks of a prompt that has been read into a row."""
        if not self._limit:
            return
        keys = [key for key, _ in self._known(prompt)]
        parent = self._nodes[keys[-1]].number if keys else 0
        for index in range(len(keys), len(prompt) // CHUNK):
            key = (parent, tuple(prompt[index * CHUNK : (index + 1) * CHUNK]))
            block = slots.block(row, index * CHUNK, (index + 1) * CHUNK)
            self._numbers += 1
            self._nodes[key] = _Node(self._numbers, block)
            self.bytes += block.nbytes
            keys.append(key)
            parent = self._numbers
        self._touch(keys)
        while self.bytes > self._limit:
            _, oldest = self._nodes.popitem(last=False)
            self.bytes -= oldest.block.nbytes

    def clear(self) -> None:
        """Forget everything: other weights."""
        self._nodes.clear()
        self.bytes = 0

    def _known(self, prompt: Sequence[int]) -> Iterator[tuple[tuple[int, tuple[int, ...]], _Node]]:
        parent = 0
        for index in range(len(prompt) // CHUNK):
            key = (parent, tuple(prompt[index * CHUNK : (index + 1) * CHUNK]))
            node = self._nodes.get(key)
            if node is None:
                return
            yield key, node
            parent = node.number

    def _touch(self, keys: Sequence[tuple[int, tuple[int, ...]]]) -> None:
        """The first chunk last, so that no chunk leaves before those that follow it."""
        for key in reversed(keys):
            self._nodes.move_to_end(key)
