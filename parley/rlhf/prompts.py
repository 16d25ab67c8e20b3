"""Which prompts a step sees: a function of seed and step alone, so that a resume has nothing to restore.

Every batch holds the kinds of prompt in the same shares, to within one, and each kind in an order drawn
anew for every pass over it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from parley.config import nearest
from parley.errors import ConfigError
from parley.rlhf.batches import permutation

GOLDEN: Final = 0.6180339887498949  # turns what is left over by rounding from kind to kind, evenly


@dataclass(frozen=True, slots=True)
class PromptStream:
    """`members[k]` are the prompts of kind k, `taken[s, k]` how many of them the steps before s saw."""

    members: tuple[np.ndarray, ...]
    taken: np.ndarray  # int64 [steps + 1, kinds]
    seed: int

    @classmethod
    def of(
        cls, kinds: Sequence[str], shares: Mapping[str, float], *, batch: int, steps: int, seed: int
    ) -> PromptStream:
        """The stream over prompts of these kinds; `shares` are relative, none are those of the prompts.

        `ConfigError` for a share of a kind that no prompt is of.
        """
        names, places = np.unique(np.asarray(kinds, dtype=str), return_inverse=True)
        known = [str(name) for name in names]
        for name in shares:
            if name not in known:
                raise ConfigError(f"ppo.balance: there is no prompt of '{name}'{nearest(name, known)}")
        weights = np.array([shares.get(name, 0.0) for name in known]) if shares else np.bincount(places)
        edges = np.cumsum(weights / weights.sum())
        taken = np.zeros((steps + 1, len(known)), np.int64)
        for step in range(steps):
            slots = (np.arange(batch) + (step + 1) * GOLDEN % 1) / batch
            chosen = np.minimum(np.searchsorted(edges, slots, side="right"), np.flatnonzero(weights)[-1])
            taken[step + 1] = taken[step] + np.bincount(chosen, minlength=len(known))
        return cls(tuple(np.flatnonzero(places == k) for k in range(len(known))), taken, seed)

    def at(self, step: int) -> list[int]:
        """The indices of one step's prompts, the kinds among one another."""
        drawn = [index for kind in range(len(self.members)) for index in self._of_kind(kind, step)]
        order = permutation(len(drawn), seed=_seed(self.seed, len(self.members), step))
        return [drawn[n] for n in order]

    def _of_kind(self, kind: int, step: int) -> Iterator[int]:
        members = self.members[kind]
        for place in range(self.taken[step, kind], self.taken[step + 1, kind]):
            epoch, within = divmod(int(place), len(members))
            yield int(members[_order(len(members), self.seed, kind, epoch)[within]])


@lru_cache(maxsize=64)
def _order(size: int, seed: int, kind: int, epoch: int) -> np.ndarray:
    return permutation(size, seed=_seed(seed, kind, epoch))


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
