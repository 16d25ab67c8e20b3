"""What every language model here can do, whoever wrote its layers.

`model.decoder.Decoder` (our own, fast) and `model.transformers_decoder.TransformersDecoder` (any
causal model of the transformers library) are the two kinds. Losses, sampler, heads and stages know
this class alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from parley.model.cache import CacheView
from parley.model.kernels import token_logprobs
from parley.model.sight import Sight
from parley.numerics import NumericPlan


class ModelShape(Protocol):
    """The numbers that users of a model ask for; `width` is D, `max_positions` the context in tokens."""

    @property
    def vocab_size(self) -> int: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def layers(self) -> int: ...  # noqa: D102
    @property
    def kv_heads(self) -> int: ...  # noqa: D102
    @property
    def head_dim(self) -> int: ...  # noqa: D102
    @property
    def max_positions(self) -> int: ...  # noqa: D102
    @property
    def tied(self) -> bool: ...  # noqa: D102

    def to_hf(self) -> dict[str, object]:
        """The model's `config.json`, without token ids."""
        ...


# What must hold while layers run, and again while they are recomputed.
Circumstances = Callable[[], tuple[AbstractContextManager[Any], AbstractContextManager[Any]]]


class LanguageModel(nn.Module, ABC):
    """Tokens to hidden states to logits. Master weights are fp32 (P27); there is no dropout (P13)."""

    config: ModelShape
    linear_dtype: torch.dtype
    sampling_dtype: torch.dtype = torch.float32
    """In what linear layers multiply when it is sampled from."""

    @property
    @abstractmethod
    def input_weight(self) -> Float[Tensor, "V D"]:
        """The token embeddings."""

    @property
    @abstractmethod
    def head_weight(self) -> Float[Tensor, "V D"]:
        """The matrix that turns hidden states into logits; the token embeddings where they are tied."""

    @abstractmethod
    def use(self, plan: NumericPlan) -> LanguageModel:
        """This model on the plan's device, with its linear dtype and attention path."""

    @abstractmethod
    def recompute(self, circumstances: Circumstances | None = None) -> None:
        """From now on keep the input of each layer alone and compute its inside again on the way back
        (gradient checkpointing): the same gradients from less memory, for a third more time."""

    @abstractmethod
    def resize(self, vocab_size: int) -> None:
        """Room for so many tokens: rows beyond are dropped, new ones are 0."""

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write the weights, as safetensors under transformers' names."""

    @abstractmethod
    def forward(
        self,
        tokens: Int[Tensor, "B T"],
        positions: Int[Tensor, "B T"],
        sight: Sight | Float[Tensor, "B 1 T T"],
        *,
        extra: Float[Tensor, "B T D"] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Hidden states after the final norm.

        `positions` count from 0 within each segment, `sight` says who sees whom (or is its bias), `extra` is added to
        the token embeddings (features that a reward model reads).
        """

    @abstractmethod
    def forward_cached(
        self, tokens: Int[Tensor, "B N"], positions: Int[Tensor, "B N"], cache: CacheView
    ) -> Float[Tensor, "B N D"]:
        """Hidden states of the next N tokens of every row; their keys and values join the cache."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.head_weight.device

    def logits(self, hidden: Float[Tensor, "*rows D"]) -> Float[Tensor, "*rows V"]:
        """Scores of every token as the next one, in fp32 whatever the plan."""
        return F.linear(hidden, self.head_weight)

    def token_logprobs(
        self,
        hidden: Float[Tensor, "*rows D"],
        targets: Int[Tensor, "*rows"],
        temperature: float = 1.0,
    ) -> Float[Tensor, "*rows"]:
        """`log_softmax(logits / T)` at the targets, in fp32 (P1); memory stays bounded."""
        if temperature <= 0:
            raise ValueError(f"a log-probability needs a temperature above 0, got {temperature}")
        rows, wanted = hidden.reshape(-1, hidden.shape[-1]), targets.reshape(-1)
        found = token_logprobs(rows, self.head_weight, wanted, temperature, self.linear_dtype)
        return found.view(targets.shape)
