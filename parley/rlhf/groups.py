"""Rankings as tokens, each history computed once for all its replies.

A row holds a history and behind it the replies to it (a ranking too long for a row takes several,
each with the history). Every reply sees the history and itself, not
its neighbours, and its positions go on from the history's end, so each score is that of the
exchange alone, at the cost of one history instead of K (tested). This is the reward model's batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from parley.labels import Comparison, Ranking
from parley.model.sight import Sight
from parley.rlhf.batches import TokenSet, pack, portions
from parley.rlhf.exchanges import Speaker, answer_tokens, history_tokens

ROW_TOKENS: Final = 512  # of a row, unless one exchange is longer


@dataclass(frozen=True, slots=True)
class RankedReplies:
    """Rankings as tokens: history g is `histories[g]`; `replies[g]` are its replies' indices in
    `answers`; `pairs[g]` its strict comparisons, which index those replies, and `gaps[g]` how many ranks lie
    between the two of each."""

    histories: TokenSet
    answers: TokenSet
    replies: tuple[tuple[int, ...], ...]
    pairs: tuple[tuple[Comparison, ...], ...]
    gaps: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.replies)

    def distinct(self, group: int) -> list[int]:
        """The different replies of a ranking, in order."""
        return list(dict.fromkeys(self.replies[group]))

    def portions(self, batch_tokens: int) -> Iterator[range]:
        """The rankings in order, in portions of about `batch_tokens` tokens."""
        sizes = [self.num_tokens(group) for group in range(len(self))]
        return portions(sizes, batch_tokens=batch_tokens)

    def num_tokens(self, group: int) -> int:
        """Tokens of a history and its different replies."""
        answers = self.answers.lengths
        return int(self.histories.lengths[group]) + sum(int(answers[r]) for r in self.distinct(group))

    def blocks(self, group: int, *, row_tokens: int) -> Iterator[Block]:
        """The ranking in as few portions of its different replies as fit rows of this size."""
        history, lengths = int(self.histories.lengths[group]), self.answers.lengths
        taken: list[int] = []
        size = history
        for reply in self.distinct(group):
            if taken and size + int(lengths[reply]) > row_tokens:
                yield Block(group, tuple(taken), size)
                taken, size = [], history
            taken.append(reply)
            size += int(lengths[reply])
        yield Block(group, tuple(taken), size)


@dataclass(frozen=True, slots=True)
class Block:
    """A history and some of its replies, `num_tokens` together."""

    group: int
    replies: tuple[int, ...]
    num_tokens: int


def ranked_replies(rankings: Sequence[Ranking], speaker: Speaker, *, context: int) -> RankedReplies:
    """Every history and reply; history and longest reply together take at most `context` tokens.

    Replies of one ranking whose tokens are the same (after cutting) are one.
    """
    histories: list[list[int]] = []
    answers: list[tuple[int, ...]] = []
    replies: list[tuple[int, ...]] = []
    for ranking in rankings:
        said = [tuple(answer_tokens(speaker, reply.text, context=context)) for reply in ranking.replies]
        room = context - max(map(len, said))
        histories.append(history_tokens(speaker, ranking.prompt, max_tokens=room))
        distinct = list(dict.fromkeys(said))
        replies.append(tuple(len(answers) + distinct.index(ids) for ids in said))
        answers += distinct
    pairs = tuple(ranking.comparisons() for ranking in rankings)
    gaps = tuple(ranking.gaps() for ranking in rankings)
    return RankedReplies(_unsupervised(histories), _unsupervised(answers), tuple(replies), pairs, gaps)


def _unsupervised(items: Sequence[Sequence[int]]) -> TokenSet:
    return TokenSet.of((ids, [False] * len(ids)) for ids in items)


@dataclass(frozen=True, slots=True)
class GroupBatch:
    """Rows of whole rankings. `segments` counts the texts of a row from 1, 0 is padding; `parents`
    is the segment of the history that a reply's tokens also see. `previous` is the flat index of the
    token before in the exchange; `last` that of each reply's last token. `owners` is the reply that a
    token belongs to, counted as `last` counts, -1 for histories and padding."""

    tokens: Int[Tensor, "B T"]
    positions: Int[Tensor, "B T"]
    segments: Int[Tensor, "B T"]
    parents: Int[Tensor, "B T"]
    previous: Int[Tensor, "B T"]
    owners: Int[Tensor, "B T"]
    last: Int[Tensor, " N"]

    @property
    def sight(self) -> Sight:
        """Which token sees which."""
        return Sight(self.segments, self.parents)


def group_batch(
    groups: RankedReplies, chosen: Sequence[int], *, pad: int, device: str
) -> tuple[GroupBatch, dict[int, int]]:
    """The chosen rankings, and where the score of each of their replies comes out."""
    blocks = [block for group in chosen for block in groups.blocks(group, row_tokens=ROW_TOKENS)]
    sizes = np.array([block.num_tokens for block in blocks])
    width = max(ROW_TOKENS, int(sizes.max()))
    (rows,) = pack(sizes, range(len(blocks)), row_tokens=width, num_rows=len(blocks))
    layout = _Layout((len(rows), max(int(sizes[row].sum()) for row in rows)), pad)
    for r, row in enumerate(rows):
        layout.next_row(r)
        for n in row:
            layout.put(groups, blocks[n])
    place = {reply: n for n, reply in enumerate(layout.scored)}
    return layout.batch(device), place


class _Layout:
    """Arrays of a batch while it is filled."""

    def __init__(self, shape: tuple[int, int], pad: int) -> None:
        self.width = shape[1]
        self.tokens = np.full(shape, pad, np.int64)
        self.positions, self.segments, self.parents, self.previous = (
            np.zeros(shape, np.int64) for _ in range(4)
        )
        self.owners = np.full(shape, -1, np.int64)
        self.last: list[int] = []
        self.scored: list[int] = []
        self.row = self.at = self.number = 0

    def batch(self, device: str) -> GroupBatch:
        """The arrays as tensors."""
        tokens, positions, segments, parents, previous, owners = (
            torch.from_numpy(array).to(device)
            for array in (
                self.tokens,
                self.positions,
                self.segments,
                self.parents,
                self.previous,
                self.owners,
            )
        )
        last = torch.tensor(self.last, device=device)
        return GroupBatch(tokens, positions, segments, parents, previous, owners, last)

    def next_row(self, row: int) -> None:
        self.row, self.at, self.number = row, 0, 0

    def put(self, groups: RankedReplies, block: Block) -> None:
        history, _ = groups.histories.example(block.group)
        end = self._put(history, first=0, parent=0, before=self._flat(self.at))
        parent = self.number
        for reply in block.replies:
            ids, _ = groups.answers.example(reply)
            self.owners[self.row, self.at : self.at + len(ids)] = len(self.last)
            self.last.append(self._put(ids, first=len(history), parent=parent, before=end))
            self.scored.append(reply)

    def _put(self, ids: np.ndarray, *, first: int, parent: int, before: int) -> int:
        """Lay the tokens down; the flat index of the last one."""
        span = slice(self.at, self.at + len(ids))
        self.number += 1
        self.tokens[self.row, span] = ids
        self.positions[self.row, span] = first + np.arange(len(ids))
        self.segments[self.row, span], self.parents[self.row, span] = self.number, parent
        self.previous[self.row, span] = self._flat(self.at) + np.arange(-1, len(ids) - 1)
        self.previous[self.row, self.at] = before
        self.at = span.stop
        return self._flat(self.at - 1)

    def _flat(self, column: int) -> int:
        return self.row * self.width + column
