"""Pretraining text inside PPO (PPO-ptx), so that the policy keeps what it read while it learns to please.

Per minibatch the gradient of PPO and γ times that of next-token likelihood gather in one buffer, and one
optimizer step follows (InstructGPT, Eq. 2 and appendix C.4; rule P22).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from torch import Tensor

from parley.artifacts import Snapshot
from parley.errors import ConfigError
from parley.model.checkpoint import LoadedModel
from parley.rlhf.batches import TokenSet, pack, permutation
from parley.stages.data import documents_of
from parley.stages.likelihood import document_tokens, likelihood_losses

DOCUMENTS_AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True)
class Pretraining:
    """Pieces of documents in the order in which minibatches take them, again from the start at the end.

    Which pieces a minibatch sees is a function of its number alone: a resumed run has nothing to restore.
    """

    pieces: TokenSet
    row_tokens: int
    coefficient: float
    pad: int
    micro_tokens: int

    def losses(self, model: LoadedModel, *, number: int, count: int) -> Iterator[Callable[[], Tensor]]:
        """γ times the mean negative log-likelihood, in nats a token, of the `count` pieces of a minibatch,
        in parts that add up to it."""
        chosen = [(number * count + n) % len(self.pieces) for n in range(count)]
        (rows,) = pack(self.pieces.lengths, chosen, row_tokens=self.row_tokens, num_rows=count)
        for part in likelihood_losses(
            model.decoder, self.pieces, rows, pad=self.pad, micro_tokens=self.micro_tokens
        ):
            yield partial(self._weighted, part)

    def _weighted(self, loss: Callable[[], Tensor]) -> Tensor:
        return self.coefficient * loss()


def pretraining(
    told: Snapshot,
    model: LoadedModel,
    *,
    coefficient: float,
    row_tokens: int,
    needed: int,
    seed: int,
    micro_tokens: int = 0,
) -> Pretraining:
    """The first `needed` pieces of documents in an order drawn by seed, or all there are."""
    texts = [document.text for document in documents_of(told)]
    if not texts:
        raise ConfigError("ppo.ptx_coefficient needs documents, and the data section names none")
    order = permutation(len(texts), seed=seed)
    pieces = TokenSet.of([])
    for start in range(0, len(order), DOCUMENTS_AT_ONCE):
        drawn = [texts[i] for i in order[start : start + DOCUMENTS_AT_ONCE]]
        pieces = pieces.joined(document_tokens(drawn, model.tokenizer, row_tokens=row_tokens))
        if len(pieces) >= needed:
            break
    return Pretraining(pieces, row_tokens, coefficient, model.tokenizer.pad, micro_tokens)
